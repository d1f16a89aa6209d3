// A batch on the tabs of its run and of its task: how far it is, and its pictures as they come.
import { Progress } from "./cards.js";
import { h, useEffect, useRef } from "./elements.js";
import { Grid, Sentinel, useViewer } from "./grid.js";
import { Notice, Trouble } from "./notices.js";
import { usePages } from "./pages.js";
import { BATCH_STATES, OUT_OF_REACH, usageWords } from "./words.js";

const NOT_READ = {
  outside: "The rows of this batch lie outside the folders that the gallery may show ([imagetasks] gallery_roots).",
  missing: OUT_OF_REACH.missing,
  unreadable: "The storage that holds the rows of this batch does not answer.",
};

export function BatchPanel({ item, state }) {
  const place = `api/dags/${encodeURIComponent(item.dag_id)}/runs/${encodeURIComponent(item.run_id)}`;
  const list = usePages(`${place}/tasks/${encodeURIComponent(item.task_id)}/${item.map_index}/batch`, { state });
  const [viewer, onOpen] = useViewer(list.items);
  const done = item.counts.succeeded + item.counts.failed;
  const seen = useRef(done);
  useEffect(() => {
    // A row that has come to its end is in the folder by then.
    if (seen.current !== done) list.refresh();
    seen.current = done;
  }, [done, list.refresh]);
  const facts = [BATCH_STATES[item.state], item.model, item.service, usageWords(item.usage), item.cost != null ? `cost ${item.cost}` : null];
  return h(
    "section",
    { className: "it-batch", "aria-label": `Batch ${item.task_id}` },
    h(
      "header",
      null,
      h("h2", null, item.task_id + (item.map_index >= 0 ? ` [${item.map_index}]` : "")),
      h("p", { className: "it-quiet" }, facts.filter(Boolean).join(" · ")),
    ),
    h(Progress, { item }),
    list.error && !list.first ? h(Trouble, { error: list.error, onRetry: list.refresh }) : null,
    list.first && NOT_READ[list.first.reach] ? h(Notice, { tone: "hint" }, NOT_READ[list.first.reach]) : null,
    list.items.length ? h(Grid, { items: list.items, kind: "batch", onOpen }) : null,
    list.hasMore ? h(Sentinel, { more: list.more, isIdle: list.items.length }) : null,
    viewer,
  );
}
