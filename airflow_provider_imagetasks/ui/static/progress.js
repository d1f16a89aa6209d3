// How far a batch is: a bar, the counts in words, and while it is under way the rate and the time that is left.
import { h, nameOf, useRef } from "./elements.js";
import { amount, duration } from "./words.js";

const LOOKS_BACK = 120_000;

// The rate of the last two minutes, as far as this page has seen them.
function useRate(done, isLive) {
  const seen = useRef([]);
  const now = Date.now();
  if (!isLive) seen.current = [];
  else if (seen.current.at(-1)?.done !== done) seen.current.push({ at: now, done });
  while (seen.current.length > 2 && seen.current[1].at < now - LOOKS_BACK) seen.current.shift();
  const first = seen.current[0];
  const seconds = first ? (now - first.at) / 1000 : 0;
  return seconds > 5 ? Math.max(0, done - first.done) / seconds : 0;
}

export function countWords({ counts, ready }) {
  const { total, succeeded, failed, running } = counts;
  const parts = [`${amount(succeeded + failed)} of ${amount(total)} done`];
  if (failed) parts.push(`${amount(failed)} failed`);
  if (ready) parts.push(`${amount(ready)} ready at the service, about to be stored`);
  if (running - ready > 0) parts.push(`${amount(running - ready)} running`);
  return parts;
}

export function Progress({ item }) {
  const { total, succeeded, failed, running } = item.counts;
  const { ready } = item;
  const share = (number) => ({ width: `${total ? (100 * number) / total : 0}%` });
  const done = succeeded + failed;
  const rate = useRate(done, item.state === "waiting");
  const parts = countWords(item);
  if (rate && done < total) parts.push(`${(rate * 60).toFixed(rate < 1 / 6 ? 1 : 0)} a minute`, `about ${duration(Math.round((total - done) / rate))} left`);
  return h(
    "div",
    { className: "it-progress" },
    h(
      "div",
      {
        className: "it-bar",
        role: "progressbar",
        "aria-valuemin": 0,
        "aria-valuemax": total,
        "aria-valuenow": done,
        "aria-label": `Batch ${nameOf(item)}`,
        "aria-valuetext": parts.join(", "),
      },
      h("span", { className: "it-bar-succeeded", style: share(succeeded) }),
      h("span", { className: "it-bar-failed", style: share(failed) }),
      h("span", { className: "it-bar-ready", style: share(Math.min(ready, total - done)) }),
      h("span", { className: "it-bar-running", style: share(Math.min(Math.max(0, running - ready), total - done - ready)) }),
    ),
    h("p", null, parts.join(" · ")),
  );
}
