// A card for an image task, and one for a batch.
import { AirflowLink, Button, h, memo, nameOf, runPictures, taskPictures } from "./elements.js";
import { Age, Thumbnail } from "./pictures.js";
import { Progress } from "./progress.js";
import { BATCH_STATES, CLEARS, STATES, billedWords, count, duration, errorTitle, moment } from "./words.js";

const Badge = ({ state, names = STATES }) => h("span", { className: `it-badge it-${state}` }, names[state] ?? state);

function Origin({ item, place }) {
  const when = moment(item.submitted_at ?? item.told_at);
  if (place === "nav") {
    return h(
      AirflowLink,
      { to: runPictures(item), className: "it-origin", title: `${item.dag_id}, ${item.run_id}` },
      h("span", null, item.dag_id),
      h("span", { className: "it-when" }, when),
    );
  }
  if (place === "batch") return h("span", { className: "it-origin", title: item.row_id }, rowName(item));
  return h(AirflowLink, { to: taskPictures(item), className: "it-origin", title: `The task instance, ${when}` }, nameOf(item));
}

export const rowName = (item) =>
  item.row_id ? `${item.row_id}${item.index != null ? ` · row ${item.index}` : ""}` : item.index != null ? `row ${item.index}` : "";

function Failure({ item }) {
  return [
    h("strong", { key: "title" }, errorTitle(item.error)),
    h("span", { key: "why", className: "it-reason" }, item.error?.message),
    h("span", { key: "billed" }, billedWords(item.error)),
    h("span", { key: "advice", className: "it-advice" }, item.state === "retried" ? "Airflow runs it again." : item.advice),
  ];
}

function Middle({ item, onOpen }) {
  const [picture, ...others] = item.pictures;
  const open = () => onOpen(item.key, 0);
  if (picture) {
    const what = item.prompt ?? "Picture without a prompt";
    const more = others.length ? `${others.length + 1} pictures` : null;
    return h(
      "button",
      { type: "button", className: "it-picture", onClick: open, "aria-label": [`Large view: ${what}`, more].filter(Boolean).join(", ") },
      h(Thumbnail, { picture, alt: what }),
      more ? h("span", { className: "it-more" }, more) : null,
    );
  }
  const kind = { waiting: " it-shimmer", failed: " it-trouble", retried: " it-trouble" }[item.state] ?? "";
  return h("button", { type: "button", className: `it-place it-opens${kind}`, onClick: open }, h(Words, { item }));
}

function Words({ item }) {
  if (item.error) return h(Failure, { item });
  if (item.state === "waiting") {
    return [
      h("span", { key: "for" }, h("strong", null, "Waiting for "), item.submitted_at ? h(Age, { since: item.submitted_at }) : "the service"),
      item.service ? h("span", { key: "at", className: "it-quiet" }, `at ${item.service}`) : null,
    ];
  }
  return h("span", null, STATE_WORDS[item.state]);
}

export const STATE_WORDS = {
  ready: "Ready at the service. This run has not stored it yet.",
  not_stored: "Ready at the service, but not stored by this run. Its URL will expire.",
  unfinished: "The run is over, and nothing says what became of it.",
};

const Picked = ({ item, onPick, isPicked }) =>
  item.pictures.some((picture) => picture.link)
    ? h("input", {
        type: "checkbox",
        className: "it-pick",
        checked: isPicked,
        onChange: () => onPick(item),
        "aria-label": `Select: ${item.prompt ?? "picture without a prompt"}`,
      })
    : null;

export const Card = memo(function Card({ item, place, onOpen, onPick, isPicked }) {
  const facts = [item.model, item.duration != null ? duration(item.duration) : null].filter(Boolean).join(" · ");
  const clear = item.state === "failed" ? item.clears?.[0] : null;
  return h(
    "li",
    { className: `it-card${isPicked ? " it-picked" : ""}`, "data-state": item.state },
    h(Middle, { item, onOpen }),
    onPick ? h(Picked, { item, onPick, isPicked }) : null,
    h(
      "div",
      { className: "it-caption" },
      h("p", { className: "it-prompt", dir: "auto", title: item.prompt }, item.prompt ?? h("em", null, "prompt unknown")),
      h("p", { className: "it-quiet it-facts", title: facts }, facts || "\u00a0"),
      h(
        "div",
        { className: "it-foot" },
        h(Origin, { item, place }),
        clear
          ? h(Button, { className: "it-small", title: CLEARS[clear.pays][1], onClick: () => onOpen(item.key, 0, "clear") }, "Clear…")
          : item.state === "stored"
            ? null
            : h(Badge, { state: item.state }),
      ),
    ),
  );
});

export const BatchCard = memo(function BatchCard({ item, filter }) {
  // What was asked for on the page is asked for in the batch too.
  const asked = new URLSearchParams(
    Object.entries(filter ?? {})
      .filter(([name, value]) => value && ["state", "model", "error", "search"].includes(name))
      .map(([name, value]) => [`pictures_${name}`, value]),
  ).toString();
  return h(
    "li",
    { className: "it-card it-batch-card", "data-state": item.state },
    h(
      AirflowLink,
      {
        to: taskPictures(item) + (asked ? `${item.region_id ? "&" : "?"}${asked}` : ""),
        className: "it-mosaic",
        "aria-label": `Batch ${nameOf(item)} of ${count(item.counts.total, "picture")}`,
      },
      item.pictures.map((picture, index) => h(Thumbnail, { key: `${index} ${picture.uri}`, picture, alt: "" })),
      Array.from({ length: Math.max(0, 4 - item.pictures.length) }, (_, index) =>
        h("span", { key: index, className: `it-blank${item.state === "waiting" ? " it-shimmer" : ""}` }),
      ),
    ),
    h(
      "div",
      { className: "it-caption" },
      h(Progress, { item }),
      item.matching != null ? h("p", null, `${count(item.matching, "row")} ${item.matching === 1 ? "matches" : "match"}`) : null,
      h("p", { className: "it-quiet it-facts" }, ["Batch", item.model].filter(Boolean).join(" · ")),
      h("div", { className: "it-foot" }, h(Origin, { item, place: "nav" }), item.state === "stored" ? null : h(Badge, { state: item.state, names: BATCH_STATES })),
    ),
  );
});
