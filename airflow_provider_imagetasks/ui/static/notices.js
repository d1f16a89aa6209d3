// What is shown where there are no pictures to show.
import { h } from "./elements.js";

export const Notice = ({ tone, children }) =>
  h("div", { className: `it-notice it-notice-${tone}`, role: tone === "trouble" ? "alert" : "note" }, children);

export const Loading = () =>
  h(
    "div",
    { className: "it-grid", role: "status", "aria-label": "Loading" },
    Array.from({ length: 8 }, (_, index) => h("div", { key: index, className: "it-card it-skeleton it-shimmer" })),
  );

const EMPTY = {
  dag: ["No pictures yet", "Pictures appear here as soon as this Dag submits an image task, and stay for 30 days."],
  nav: ["No pictures yet", "Pictures appear here as soon as a Dag submits an image task, and stay for 30 days."],
  run: ["No pictures in this run", "None of its tasks has submitted an image task yet."],
  task: ["No pictures here", "This task instance has not submitted, waited for or stored a picture."],
};

export function Empty({ kind, isFiltered, taskState }) {
  const [title, words] = isFiltered ? ["Nothing matches", "No image task matches this filter."] : EMPTY[kind];
  const isUnder = kind === "task" && ["queued", "scheduled", "running", "deferred", "up_for_reschedule", "up_for_retry"].includes(taskState);
  return h(
    "div",
    { className: "it-empty" },
    h(
      "svg",
      { viewBox: "0 0 24 24", width: 44, height: 44, fill: "none", stroke: "currentColor", strokeWidth: 1.2, "aria-hidden": true },
      h("rect", { x: 3, y: 4, width: 18, height: 16, rx: 2 }),
      h("circle", { cx: 8.5, cy: 9.5, r: 1.6 }),
      h("path", { d: "m4 18 5.5-5 3.5 3 3-2.5 4 3.5", strokeLinejoin: "round" }),
    ),
    h("h2", null, title),
    h("p", null, isUnder ? `Nothing yet: the task is ${taskState}.` : words),
  );
}

const REASONS = {
  401: ["Your session has ended", "Reload the page to log in again."],
  403: ["No permission", "You may not read the XComs of this Dag. An Airflow administrator can allow it."],
  422: ["There is no such view", "The URL asks for something that does not exist. Change the filters above."],
  404: ["Not found", "This run or task instance no longer exists."],
};

// What to do about it, where what was read before is still shown.
export const outdatedWords = (error) => (REASONS[error?.status] ?? [])[1] ?? "The page keeps trying.";

export function Trouble({ error, onRetry }) {
  const [title, words] = REASONS[error?.status] ?? ["The pictures cannot be read", "Airflow did not answer as expected."];
  return h(
    "div",
    { className: "it-empty", role: "alert" },
    h("h2", null, title),
    h("p", null, words, error?.status ? ` (HTTP ${error.status})` : ""),
    h("button", { type: "button", className: "it-button", onClick: onRetry }, "Try again"),
  );
}
