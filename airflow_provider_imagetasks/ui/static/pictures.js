// One picture on a card, or what stands in its place.
import { API, h, useState, useSyncExternalStore } from "./elements.js";
import { OUT_OF_REACH, duration } from "./words.js";

export const thumbnailOf = (picture) => `${API}${picture.link}/thumbnail`;
export const fileOf = (picture) => `${API}${picture.link}`;

// Milliseconds before a thumbnail is asked for again: the api-server refuses them while it makes many.
const PAUSES = [1000, 3000];

export function Thumbnail({ picture, alt }) {
  const [failed, setFailed] = useState({});
  const attempt = failed.link === picture.link ? failed.times : 0;
  const isMissing = attempt > PAUSES.length;
  if (!picture.link || isMissing) {
    return h("div", { className: "it-place" }, h("p", null, OUT_OF_REACH[isMissing ? "missing" : picture.reach]));
  }
  return h("img", {
    key: `${picture.link} ${attempt}`,
    src: thumbnailOf(picture),
    alt,
    loading: "lazy",
    decoding: "async",
    width: picture.width ?? undefined,
    height: picture.height ?? undefined,
    onError: () => setTimeout(() => setFailed({ link: picture.link, times: attempt + 1 }), PAUSES[attempt] ?? 0),
  });
}

// One clock for all cards that show an age.
const listeners = new Set();
let now = Date.now();
let timer;

function subscribe(listener) {
  listeners.add(listener);
  timer ??= setInterval(() => {
    now = Date.now();
    for (const each of listeners) each();
  }, 1000);
  return () => {
    listeners.delete(listener);
    if (!listeners.size) timer = clearInterval(timer);
  };
}

export function Age({ since }) {
  const moment = useSyncExternalStore(subscribe, () => now);
  const seconds = Math.max(0, Math.floor((moment - Date.parse(since)) / 1000) || 0);
  return h("span", { className: "it-age" }, seconds < 90 ? `${seconds} s` : duration(seconds));
}
