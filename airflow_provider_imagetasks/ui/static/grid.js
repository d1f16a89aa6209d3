// Cards side by side, more of them as one scrolls, and the large view that goes through their pictures.
import { BatchCard, Card } from "./cards.js";
import { h, useCallback, useEffect, useMemo, useRef, useState } from "./elements.js";
import { Viewer } from "./viewer.js";

export function Sentinel({ more, isIdle }) {
  const place = useRef(null);
  useEffect(() => {
    const observer = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && more(), {
      rootMargin: "800px",
    });
    observer.observe(place.current);
    return () => observer.disconnect();
  }, [more, isIdle]);
  return h("div", { ref: place, className: "it-sentinel" }, h("button", { type: "button", className: "it-button", onClick: more }, "Show more"));
}

export function Grid({ items, kind, onOpen }) {
  return h(
    "ul",
    { className: "it-grid" },
    items.map((item) => h(item.kind === "batch" ? BatchCard : Card, { key: item.key, item, place: kind, onOpen })),
  );
}

export function useViewer(items) {
  const [open, setOpen] = useState(null);
  const pictures = useMemo(
    () => items.filter((item) => item.kind === "picture").flatMap((item) => item.pictures.map((picture, index) => ({ item, picture, index }))),
    [items],
  );
  const onOpen = useCallback((key, index) => setOpen({ key, index }), []);
  const position = open ? pictures.findIndex((each) => each.item.key === open.key && each.index === open.index) : -1;
  const onMove = (step) => {
    const next = pictures[position + step];
    if (next) setOpen({ key: next.item.key, index: next.index });
  };
  const viewer =
    position < 0
      ? null
      : h(Viewer, { shown: { ...pictures[position], position, total: pictures.length }, onMove, onClose: () => setOpen(null) });
  return [viewer, onOpen];
}
