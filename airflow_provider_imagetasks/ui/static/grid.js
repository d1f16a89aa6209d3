// Cards side by side, more of them as one scrolls, and the large view that goes through them.
import { BatchCard, Card } from "./cards.js";
import { Button, Dialog, closeDialog, h, memo, scroller, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./elements.js";
import { Viewer } from "./viewer.js";
import { amount } from "./words.js";

const NEAR_THE_END = 5;
// As gallery.css has them.
const CARD_WIDTH = 210;
const GAP = 14;
const ROWS = 2;
const USUAL_ROW_HEIGHT = 350;
// Pixels beyond what is in sight.
const NEAR_SIGHT = 1500;

// Asks for more while it is in sight, also where what came showed nothing.
export function Sentinel({ more, pageCount, words }) {
  const place = useRef(null);
  useEffect(() => {
    const observer = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && more(), {
      root: scroller(place.current),
      rootMargin: "800px",
    });
    observer.observe(place.current);
    return () => observer.disconnect();
  }, [more, pageCount]);
  return h("div", { ref: place, className: "it-sentinel" }, words ? h("p", { role: "status" }, words) : null, h(Button, { onClick: more }, "Show more"));
}

export const lookedAtWords = (list) =>
  list.lookedAt != null && list.total ? `${amount(Math.min(list.lookedAt, list.total))} of ${amount(list.total)} searched` : null;

// Cards enter the page a few a frame, so that none of them takes long however many come near at a time.
const entering = new Set();

function enterInTurn(enter) {
  if (!entering.size) requestAnimationFrame(enterNext);
  entering.add(enter);
}

function enterNext() {
  const [enter] = entering;
  entering.delete(enter);
  if (entering.size) requestAnimationFrame(enterNext);
  enter?.();
}

// Some rows of cards. Far from sight they are not in the page, and with the cards they had they are not looked at again,
// so that ten thousand cards scroll as lightly as sixty.
const CardRows = memo(function CardRows({ items, isFirst, rowHeight, columns, card }) {
  const place = useRef(null);
  const estimate = rowHeight.current * Math.ceil(items.length / columns);
  // The height that is kept free for them; null while they are in the page.
  const [height, setHeight] = useState(isFirst ? null : estimate);
  useEffect(() => {
    const enter = () => setHeight(null);
    const observer = new IntersectionObserver(
      (entries) => {
        const { isIntersecting, boundingClientRect } = entries.at(-1);
        if (isIntersecting || place.current.contains(document.activeElement)) return enterInTurn(enter);
        entering.delete(enter);
        setHeight((kept) => {
          if (kept != null) return kept;
          rowHeight.current = boundingClientRect.height / Math.ceil(items.length / columns);
          return boundingClientRect.height;
        });
      },
      { root: scroller(place.current), rootMargin: `${NEAR_SIGHT}px` },
    );
    observer.observe(place.current);
    return () => {
      entering.delete(enter);
      observer.disconnect();
    };
  }, [items.length]);
  return h("div", { ref: place, style: height == null ? undefined : { height } }, height == null ? h("ul", { className: "it-grid" }, items.map(card)) : null);
});

// Cuts a list; a part with the items that it had is the very list that it was.
function useParts(items, size) {
  const before = useRef([]);
  return useMemo(() => {
    const parts = [];
    for (let start = 0; size && start < items.length; start += size) {
      const part = items.slice(start, start + size);
      const same = before.current[parts.length];
      parts.push(same?.length === part.length && part.every((item, index) => item === same[index]) ? same : part);
    }
    before.current = parts;
    return parts;
  }, [items, size]);
}

export function Grid({ items, kind, onOpen, selection, filter }) {
  const place = useRef(null);
  const rowHeight = useRef(USUAL_ROW_HEIGHT);
  const [columns, setColumns] = useState(null);
  useLayoutEffect(() => {
    const measure = () => setColumns(Math.max(1, Math.floor((place.current.clientWidth + GAP) / (CARD_WIDTH + GAP))));
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(place.current);
    return () => observer.disconnect();
  }, []);
  const { toggle, has } = selection ?? {};
  const card = useCallback(
    (item) =>
      item.kind === "batch"
        ? h(BatchCard, { key: item.key, item, filter })
        : h(Card, { key: item.key, item, place: kind, onOpen, onPick: toggle, isPicked: Boolean(has?.(item.key)) }),
    [kind, onOpen, toggle, has, filter],
  );
  const parts = useParts(items, ROWS * (columns ?? 0)).map((part, index) =>
    h(CardRows, { key: `${columns} ${index}`, items: part, isFirst: !index, rowHeight, columns, card }),
  );
  return h("div", { ref: place, className: "it-rows", style: { "--it-columns": columns ?? 1 } }, parts);
}

// Pages that are read in search of the picture that the address names.
const MOST_SEARCHED = 200;

function Searching({ list, isOver, onClose }) {
  return h(
    Dialog,
    { className: "it-search-for", label: "Large view", onClose },
    h("p", { role: "status" }, isOver ? "The picture that the URL names is not among those shown here." : `Looking for the picture that the URL names… ${lookedAtWords(list) ?? ""}`),
    h(Button, { onClick: closeDialog }, "Close"),
  );
}

// `mayHold` tells whether what the address names may be in this list: there may be several on a page.
export function useViewer(items, list, address, mayHold = () => true) {
  const isOpen = Boolean(address.shown) && mayHold(address.shown);
  const shownItems = useMemo(
    () =>
      (isOpen ? items : [])
        .filter((item) => item.kind === "picture")
        .flatMap((item) => (item.pictures.length ? item.pictures : [null]).map((picture, index) => ({ item, picture, index }))),
    [items, isOpen],
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
    } else if (list.hasMore && !list.error && (wanted.current != null || position >= total - NEAR_THE_END)) list.more();
  });
  const onMove = (target) => target >= 0 && show(target);
  const close = () => (setClearing(null), address.close());
  // What an address names may be further down: pages are read, whether or not somebody scrolls to them. What was shown
  // and is gone, as for a moment after a Clear, is not looked for: it stays as it was.
  const found = useRef(null);
  if (position >= 0) found.current = { ...shownItems[position], position, address: address.shown };
  const kept = isOpen && found.current?.address === address.shown ? found.current : null;
  const isMissing = isOpen && !kept && list.pageCount > 0 && !list.error;
  const isSearching = isMissing && list.hasMore && list.pageCount < MOST_SEARCHED;
  useEffect(() => {
    if (isSearching) list.more();
  });
  const viewer = kept
    ? h(Viewer, {
        shown: { ...kept, total: Math.max(total, kept.position + 1), hasMore: list.hasMore, isClearing: clearing === kept.item.key },
        onMove,
        onClose: close,
        onCleared: () => (setClearing(null), list.refresh()),
      })
    : isMissing && h(Searching, { list, isOver: !isSearching, onClose: close });
  return [viewer, onOpen];
}
