// The large view: one picture, or what stands in its place, with all that is known of it. Arrow keys go on, Escape and Back close.
import { addressOf } from "./address.js";
import { STATE_WORDS } from "./cards.js";
import { CLEARED, Failure } from "./clear.js";
import { Copy, operatorCall } from "./copying.js";
import { AIRFLOW, Button, Dialog, closeDialog, h, taskPictures, useState } from "./elements.js";
import { Facts, useRequest } from "./facts.js";
import { fileOf } from "./pictures.js";
import { OUT_OF_REACH, amount } from "./words.js";

function Stage({ item, picture, title }) {
  const [failed, setFailed] = useState(null);
  const [isActual, setActual] = useState(false);
  if (!picture) return h("div", { className: "it-place" }, h("p", null, STATE_WORDS[item.state] ?? (item.error ? "There is no picture." : "The service is working on it.")));
  if (!picture.link || failed === picture.link) {
    return h("div", { className: "it-place" }, h("p", null, OUT_OF_REACH[picture.link ? "missing" : picture.reach]));
  }
  return [
    h(
      "div",
      { key: "picture", className: `it-sheet${isActual ? " it-actual" : ""}`, tabIndex: isActual ? 0 : -1 },
      h("img", { key: picture.link, src: fileOf(picture), alt: title, onError: () => setFailed(picture.link), onClick: () => setActual(!isActual) }),
    ),
    h(Button, { key: "zoom", className: "it-zoom", "aria-pressed": isActual, onClick: () => setActual(!isActual) }, isActual ? "Fit" : "100 %"),
  ];
}

export function Viewer({ shown, onMove, onClose, onCleared }) {
  const { item, picture, index, position, total, hasMore, isClearing } = shown;
  const request = useRequest(item);
  // The failure goes with the next look at its task; that it was cleared is still to be read then.
  const [cleared, setCleared] = useState(null);
  const isLast = position === total - 1 && !hasMore;
  const onKeyDown = (event) => {
    // With another key they are the browser's own, as Alt and the left arrow key go back.
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const target = { ArrowLeft: position - 1, ArrowRight: position + 1, Home: 0, End: total - 1 }[event.key];
    if (target == null || event.target.closest(".it-actual")) return;
    event.preventDefault();
    onMove(target);
  };
  const prompt = request.prompt ?? item.prompt;
  const title = prompt ?? "Picture without a prompt";
  const place = `${amount(position + 1)} of ${amount(total)}${hasMore ? " and more" : ""}`;
  const ownAddress = () =>
    addressOf(AIRFLOW + taskPictures(item), { open: `${item.key}#${index}`, row: item.index });
  return h(
    Dialog,
    { className: "it-viewer", label: "Large view", onClose, onKeyDown },
    h(
      "div",
      { className: "it-viewer-room" },
      h(
        "div",
        { className: "it-stage" },
        h(Stage, { key: item.key + index, item, picture, title }),
        total > 1 || hasMore
          ? [
              h("button", { key: "back", type: "button", className: "it-step it-back", disabled: position === 0, onClick: () => onMove(position - 1), "aria-label": "Previous" }, "‹"),
              h("button", { key: "on", type: "button", className: "it-step it-on", disabled: isLast, onClick: () => onMove(position + 1), "aria-label": "Next" }, "›"),
            ]
          : null,
      ),
      h(
        "div",
        { className: "it-side" },
        h(
          "div",
          { className: "it-side-head" },
          h("span", { className: "it-quiet", "aria-live": "polite" }, [place, item.pictures.length > 1 ? `picture ${index + 1} of ${item.pictures.length}` : null].filter(Boolean).join(" · ")),
          h("button", { type: "button", className: "it-close", onClick: closeDialog, "aria-label": "Close" }, "×"),
        ),
        h("h2", { className: "it-title", dir: "auto" }, title),
        item.error
          ? h(Failure, { key: item.key, item, asked: isClearing, onCleared: () => (setCleared(item.key), onCleared?.()) })
          : cleared === item.key && !picture ? h("p", { role: "status" }, CLEARED) : null,
        h(
          "div",
          { className: "it-actions" },
          picture?.link ? h("a", { className: "it-button it-main", href: `${fileOf(picture)}?download=true`, download: "" }, "Download") : null,
          picture?.link ? h("a", { className: "it-button", href: fileOf(picture), target: "_blank", rel: "noreferrer" }, "Open in a tab") : null,
          prompt ? h(Copy, { key: `prompt ${item.key}`, label: "Copy prompt", text: prompt }) : null,
          h(Copy, { key: `call ${item.key}`, label: "Copy as Python", text: () => operatorCall(item, request) }),
          h(Copy, { key: `link ${item.key} ${index}`, label: "Copy link", text: ownAddress }),
          picture ? h(Copy, { key: picture.uri, label: "Copy path", text: picture.uri }) : null,
        ),
        h(Facts, { item, picture, request }),
      ),
    ),
  );
}
