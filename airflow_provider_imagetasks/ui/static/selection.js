// Pictures that were picked: side by side, or carried away as one zip file.
import { Compare } from "./compare.js";
import { API, Button, h, useCallback, useMemo, useState } from "./elements.js";
import { count } from "./words.js";

const MOST_COMPARED = 4;
const MOST_IN_ZIP = 500;

export function useSelection() {
  const [picked, setPicked] = useState(() => new Map());
  const toggle = useCallback((item) => {
    setPicked((known) => {
      const next = new Map(known);
      if (!next.delete(item.key)) next.set(item.key, item);
      return next;
    });
  }, []);
  const pick = useCallback((items) => setPicked((known) => new Map([...known, ...items.map((item) => [item.key, item])])), []);
  const clear = useCallback(() => setPicked(new Map()), []);
  return useMemo(() => ({ items: [...picked.values()], has: (key) => picked.has(key), toggle, pick, clear }), [picked]);
}

const FRAME = "image-tasks-archive";

// A form, so that the browser stores what comes while it comes; in a frame, so that a refusal does not take the page's place.
function carryAway(links) {
  const form = Object.assign(document.createElement("form"), { method: "post", action: `${API}api/archive`, target: FRAME, hidden: true });
  for (const link of links) form.append(Object.assign(document.createElement("input"), { name: "pictures", value: link }));
  document.body.append(form);
  form.submit();
  form.remove();
}

// What is stored as a file is never loaded into the frame.
function isRefusal(frame) {
  try {
    return frame.contentWindow.location.href !== "about:blank";
  } catch {
    return true;
  }
}

export function SelectionBar({ selection, shown }) {
  const [isComparing, setComparing] = useState(false);
  const [isRefused, setRefused] = useState(false);
  if (!selection.items.length) return null;
  const links = selection.items.flatMap((item) => item.pictures.map((picture) => picture.link).filter(Boolean));
  const others = shown.filter((item) => item.pictures?.some((picture) => picture.link) && !selection.has(item.key));
  return h(
    "div",
    { className: "it-selection", role: "region", "aria-label": "Selection" },
    h("span", { role: "status" }, `${count(selection.items.length, "image task")} selected, ${count(links.length, "picture")}${links.length > MOST_IN_ZIP ? `, more than the ${MOST_IN_ZIP} that a zip file may have` : ""}`),
    others.length ? h(Button, { onClick: () => selection.pick(others) }, `Select all ${selection.items.length + others.length} shown`) : null,
    h(
      Button,
      { disabled: selection.items.length < 2 || selection.items.length > MOST_COMPARED, title: `Two to ${MOST_COMPARED} image tasks`, onClick: () => setComparing(true) },
      "Side by side",
    ),
    h(Button, { disabled: links.length > MOST_IN_ZIP, title: `At most ${MOST_IN_ZIP} pictures`, onClick: () => (setRefused(false), carryAway(links)) }, "Download as zip"),
    h(Button, { onClick: selection.clear }, "Select none"),
    isRefused ? h("p", { role: "alert" }, "There is no zip file: Airflow refused it. Reload the page and select the pictures again.") : null,
    h("iframe", { name: FRAME, title: "Zip file", hidden: true, onLoad: (event) => isRefusal(event.currentTarget) && setRefused(true) }),
    isComparing ? h(Compare, { items: selection.items, onClose: () => setComparing(false) }) : null,
  );
}
