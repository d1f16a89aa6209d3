// Cards side by side, more of them as one scrolls, and the large view that goes through them.
import { BatchCard, Card } from "./cards.js";
import { Button, h, useCallback, useEffect, useMemo, useRef, useState } from "./elements.js";
import { Viewer } from "./viewer.js";
import { amount } from "./words.js";

const NEAR_THE_END = 5;

// Asks for more while it is in sight, also where what came showed nothing.
export function Sentinel({ more, pageCount, words }) {
  const place = useRef(null);
  useEffect(() => {
    const observer = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && more(), {
      rootMargin: "800px",
    });
    observer.observe(place.current);
    return () => observer.disconnect();
  }, [more, pageCount]);
  return h("div", { ref: place, className: "it-sentinel" }, words ? h("p", { role: "status" }, words) : null, h(Button, { onClick: more }, "Show more"));
}

export const lookedAtWords = (list) =>
  list.lookedAt != null && list.total ? `${amount(Math.min(list.lookedAt, list.total))} of ${amount(list.total)} looked through` : null;

export function Grid({ items, kind, onOpen, selection, filter }) {
  return h(
    "ul",
    { className: "it-grid" },
    items.map((item) =>
      item.kind === "batch"
        ? h(BatchCard, { key: item.key, item, filter })
        : h(Card, { key: item.key, item, place: kind, onOpen, onPick: selection?.toggle, isPicked: Boolean(selection?.has(item.key)) }),
    ),
  );
}

export function useViewer(items, list, address) {
  const shownItems = useMemo(
    () =>
      items
        .filter((item) => item.kind === "picture")
        .flatMap((item) => (item.pictures.length ? item.pictures : [null]).map((picture, index) => ({ item, picture, index }))),
    [items],
  );
  const [clearing, setClearing] = useState(null);
  const onOpen = useCallback(
    (key, index, deed) => {
      setClearing(deed === "clear" ? key : null);
      address.open(`${key}#${index}`);
    },
    [address.open],
  );
  const position = address.shown ? shownItems.findIndex((each) => `${each.item.key}#${each.index}` === address.shown) : -1;
  const total = shownItems.length;
  const wanted = useRef(null);
  const show = (target) => {
    const next = shownItems[target];
    if (next) address.open(`${next.item.key}#${next.index}`);
    else if (target >= total && list.hasMore) wanted.current = target;
  };
  useEffect(() => {
    if (position < 0) wanted.current = null;
    else if (wanted.current != null && wanted.current < total) {
      const target = wanted.current;
      wanted.current = null;
      show(target);
    } else if (list.hasMore && (wanted.current != null || position >= total - NEAR_THE_END)) list.more();
  });
  const onMove = (target) => target >= 0 && show(target);
  const viewer =
    position < 0
      ? null
      : h(Viewer, {
          shown: { ...shownItems[position], position, total, hasMore: list.hasMore, isClearing: clearing === shownItems[position].item.key },
          onMove,
          onClose: () => (setClearing(null), address.close()),
          onCleared: list.refresh,
        });
  return [viewer, onOpen];
}
