// A card for an image task, and one for a batch.
import { AirflowLink, h, memo, runPictures, taskPictures } from "./elements.js";
import { Age, Thumbnail } from "./pictures.js";
import { BATCH_STATES, STATES, billedWords, count, duration, errorTitle } from "./words.js";

const Badge = ({ state, names = STATES }) => h("span", { className: `it-badge it-${state}` }, names[state]);

const nameOf = (item) => item.task_id + (item.map_index >= 0 ? ` [${item.map_index}]` : "");

function Origin({ item, place }) {
  if (place === "nav") {
    return h(AirflowLink, { to: runPictures(item), className: "it-origin", title: `${item.dag_id}, ${item.run_id}` }, item.dag_id);
  }
  if (place === "batch") return h("span", { className: "it-origin" }, item.index != null ? `row ${item.index}` : "");
  return h(AirflowLink, { to: taskPictures(item), className: "it-origin", title: "The task instance" }, nameOf(item));
}

function Middle({ item, onOpen }) {
  const [picture, ...others] = item.pictures;
  if (picture) {
    const what = item.prompt ?? "Picture without a prompt";
    return h(
      "button",
      { type: "button", className: "it-picture", onClick: () => onOpen(item.key, 0), "aria-label": `Large view: ${what}` },
      h(Thumbnail, { picture, alt: what }),
      others.length ? h("span", { className: "it-more", "aria-hidden": true }, `${others.length + 1} pictures`) : null,
    );
  }
  if (item.state === "waiting") {
    return h(
      "div",
      { className: "it-place it-shimmer" },
      h("p", null, h("strong", null, "Waiting for "), item.submitted_at ? h(Age, { since: item.submitted_at }) : "the service"),
      item.service ? h("p", { className: "it-quiet" }, `at ${item.service}`) : null,
    );
  }
  if (item.state === "failed") {
    return h(
      "div",
      { className: "it-place it-trouble" },
      h("p", null, h("strong", null, errorTitle(item.error))),
      h("p", { className: "it-reason", title: item.error?.message }, item.error?.message),
      h("p", { className: "it-quiet" }, billedWords(item.error)),
    );
  }
  const words =
    item.state === "ready"
      ? "Ready at the service, and not stored by this run. Its URL expires."
      : "The run is over, and nothing tells what became of it.";
  return h("div", { className: "it-place" }, h("p", null, words));
}

export const Card = memo(function Card({ item, place, onOpen }) {
  const facts = [item.model, item.duration != null ? duration(item.duration) : null].filter(Boolean).join(" · ");
  return h(
    "li",
    { className: "it-card", "data-state": item.state },
    h(Middle, { item, onOpen }),
    h(
      "div",
      { className: "it-caption" },
      h("p", { className: "it-prompt", title: item.prompt }, item.prompt ?? h("em", null, "no prompt known")),
      h("p", { className: "it-quiet it-facts", title: facts }, facts || "\u00a0"),
      h("div", { className: "it-foot" }, h(Badge, { state: item.state }), h(Origin, { item, place })),
    ),
  );
});

export function Progress({ item }) {
  const { total, succeeded, failed, running } = item.counts;
  const share = (number) => ({ width: `${total ? (100 * number) / total : 0}%` });
  const done = succeeded + failed;
  const parts = [`${done} of ${total} done`];
  if (failed) parts.push(`${failed} failed`);
  if (running) parts.push(`${running} running`);
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
      h("span", { className: "it-bar-running", style: share(Math.min(running, total - done)) }),
    ),
    h("p", null, parts.join(" · ")),
  );
}

export const BatchCard = memo(function BatchCard({ item }) {
  return h(
    "li",
    { className: "it-card it-batch-card", "data-state": item.state },
    h(
      AirflowLink,
      { to: taskPictures(item), className: "it-mosaic", "aria-label": `Batch ${nameOf(item)} of ${count(item.counts.total, "picture")}` },
      item.pictures.map((picture) => h(Thumbnail, { key: picture.uri, picture, alt: "" })),
      Array.from({ length: Math.max(0, 4 - item.pictures.length) }, (_, index) =>
        h("span", { key: index, className: `it-blank${item.state === "waiting" ? " it-shimmer" : ""}` }),
      ),
    ),
    h(
      "div",
      { className: "it-caption" },
      h(Progress, { item }),
      h("p", { className: "it-quiet it-facts" }, ["Batch", item.model].filter(Boolean).join(" · ")),
      h("div", { className: "it-foot" }, h(Badge, { state: item.state, names: BATCH_STATES }), h(Origin, { item, place: "nav" })),
    ),
  );
});
