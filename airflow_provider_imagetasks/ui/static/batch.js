// A batch on the tabs of its run and of its task: how far it is, why rows failed, and its pictures as they come.
import { Failure } from "./clear.js";
import { API, h, nameOf, taskRoute, useEffect, useRef } from "./elements.js";
import { Grid, Sentinel, useViewer } from "./grid.js";
import { Loading, Notice, Trouble } from "./notices.js";
import { usePages } from "./pages.js";
import { Progress } from "./progress.js";
import { BATCH_STATES, OUT_OF_REACH, cost, count, countedError } from "./words.js";

const NOT_READ = {
  outside: "The rows of this batch are stored outside the folders that the gallery may show ([imagetasks] gallery_roots).",
  another: "The folder of this task instance belongs to another batch, so its rows are not shown.",
  missing: OUT_OF_REACH.missing,
  unreadable: "The storage that holds the rows of this batch does not answer.",
};

export function BatchPanel({ item, filter, address, selection, onSeen, onRows, onCleared }) {
  const { state, service, model, error, search, order, row } = filter;
  const query = { state, service, model, error, search, row, order };
  const list = usePages(taskRoute(item, "batch"), query);
  const cleared = () => (list.refresh(), onCleared());
  const [viewer, onOpen] = useViewer(list.items, { ...list, refresh: cleared }, address, (shown) => shown.startsWith(`${item.key}/`));
  const done = item.counts.succeeded + item.counts.failed;
  const seen = useRef(done);
  useEffect(() => {
    // A row that has come to its end is in the folder by then.
    if (seen.current !== done) list.refresh();
    seen.current = done;
  }, [done, list.refresh]);
  const failures = Object.entries(list.first?.failures ?? {});
  const names = failures.map(([name]) => name).join();
  useEffect(() => onSeen?.(names ? names.split(",") : []), [names]);
  useEffect(() => {
    onRows?.(item.key, list.items);
    return () => onRows?.(item.key, []);
  }, [list.items]);
  const facts = [BATCH_STATES[item.state], item.model, item.service, item.cost != null ? `cost ${cost(item.cost, item.currency)}` : null];
  const isNarrowed = state || service || model || error || search || row;
  return h(
    "section",
    { className: "it-batch", "aria-label": `Batch ${item.task_id}` },
    h(
      "header",
      null,
      h("h2", null, nameOf(item)),
      h("p", { className: "it-quiet" }, facts.filter(Boolean).join(" · ")),
      item.manifest && list.first?.reach === "ok" ? h("a", { className: "it-button it-small", href: API + taskRoute(item, "manifest"), download: "" }, "Manifest") : null,
    ),
    h(Progress, { item }),
    failures.length ? h("p", { className: "it-failures" }, failures.map(([name, number]) => countedError(name, number)).join(" · ")) : null,
    // Also where nothing says why: a worker may have been killed, or somebody marked the task.
    item.state === "failed" ? h(Failure, { item, onCleared: cleared }) : null,
    list.error && !list.first ? h(Trouble, { error: list.error, onRetry: list.refresh }) : null,
    list.first && NOT_READ[list.first.reach] ? h(Notice, { tone: "hint" }, NOT_READ[list.first.reach]) : null,
    isNarrowed && list.first?.found != null ? h("p", { className: "it-quiet", role: "status" }, list.first.found ? `${count(list.first.found, "row")} shown` : "No row matches this filter.") : null,
    list.isLoading ? h(Loading) : null,
    list.items.length ? h(Grid, { items: list.items, kind: "batch", onOpen, selection }) : null,
    list.hasMore ? h(Sentinel, { more: list.more, pageCount: list.pageCount }) : null,
    viewer,
  );
}
