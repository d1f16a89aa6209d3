// The large view: one picture with all that is known of it. Arrow keys go on, Escape closes.
import { AirflowLink, h, runPath, taskPath, useEffect, useRef, useState } from "./elements.js";
import { fileOf } from "./pictures.js";
import { OUT_OF_REACH, STATES, bytes, duration, moment, usageWords } from "./words.js";

function CopyPath({ uri }) {
  const [told, setTold] = useState("Copy path");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(uri);
      setTold("Copied");
    } catch {
      // Browsers refuse the clipboard to pages without https.
      setTold(copyBySelection(uri) ? "Copied" : "Select and copy it above");
    }
    setTimeout(() => setTold("Copy path"), 2000);
  };
  return h("button", { type: "button", className: "it-button", onClick: copy, "aria-live": "polite" }, told);
}

function copyBySelection(text) {
  const dialog = document.querySelector("dialog.it-viewer");
  const area = Object.assign(document.createElement("textarea"), { value: text, readOnly: true });
  (dialog ?? document.body).append(area);
  area.select();
  const isDone = document.execCommand("copy");
  area.remove();
  return isDone;
}

function Facts({ item, picture }) {
  const facts = [
    ["Model", item.model],
    ["State", STATES[item.state]],
    ["Duration", item.duration != null ? duration(item.duration) : null],
    ["Size", picture.width ? `${picture.width} × ${picture.height}${picture.bytes ? `, ${bytes(picture.bytes)}` : ""}` : null],
    ["Service", item.service],
    ["Connection", item.conn_id],
    ["Submitted", item.submitted_at ? moment(item.submitted_at) : null],
    ["Usage", usageWords(item.usage)],
    ["Cost", item.cost],
    ["Image task", item.image_task_id],
    ["Path", picture.uri],
  ];
  return h(
    "dl",
    null,
    facts.filter(([, value]) => value != null && value !== "").map(([name, value]) => h("div", { key: name }, h("dt", null, name), h("dd", null, value))),
  );
}

export function Viewer({ shown, onMove, onClose }) {
  const dialog = useRef(null);
  const { item, picture, position, total } = shown;
  const [failed, setFailed] = useState(null);

  useEffect(() => {
    if (!dialog.current.open) dialog.current.showModal();
  }, []);

  const onKeyDown = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) {
      event.preventDefault();
      onMove(step);
    }
  };
  const title = item.prompt ?? "Picture without a prompt";
  const canShow = picture.link && failed !== picture.link;
  return h(
    "dialog",
    {
      ref: dialog,
      className: "it it-viewer",
      "aria-label": "Large view",
      onClose,
      onKeyDown,
      onClick: (event) => event.target === dialog.current && dialog.current.close(),
    },
    h(
      "div",
      { className: "it-viewer-room" },
      h(
        "div",
        { className: "it-stage" },
        canShow
          ? h("img", { key: picture.link, src: fileOf(picture), alt: title, onError: () => setFailed(picture.link) })
          : h("div", { className: "it-place" }, h("p", null, OUT_OF_REACH[picture.link ? "missing" : picture.reach])),
        total > 1
          ? [
              h("button", { key: "back", type: "button", className: "it-step it-back", disabled: position === 0, onClick: () => onMove(-1), "aria-label": "Previous picture" }, "‹"),
              h("button", { key: "on", type: "button", className: "it-step it-on", disabled: position === total - 1, onClick: () => onMove(1), "aria-label": "Next picture" }, "›"),
            ]
          : null,
      ),
      h(
        "div",
        { className: "it-side" },
        h(
          "div",
          { className: "it-side-head" },
          h("span", { className: "it-quiet", "aria-live": "polite" }, total > 1 ? `${position + 1} of ${total}` : ""),
          h("button", { type: "button", className: "it-close", onClick: () => dialog.current.close(), "aria-label": "Close" }, "×"),
        ),
        h("h2", null, title),
        h(Facts, { item, picture }),
        h(
          "div",
          { className: "it-actions" },
          picture.link ? h("a", { className: "it-button it-main", href: `${fileOf(picture)}?download=true`, download: "" }, "Download") : null,
          h(CopyPath, { key: picture.uri, uri: picture.uri }),
          h(AirflowLink, { className: "it-button", to: runPath(item) }, "Dag run"),
          h(AirflowLink, { className: "it-button", to: taskPath(item) }, "Task instance"),
        ),
      ),
    ),
  );
}
