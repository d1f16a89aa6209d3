// The gallery in its three places: a page of its own, a tab on a Dag run, a tab on a task instance.
import { BatchPanel } from "./batch.js";
import { h, useId, useState } from "./elements.js";
import { Grid, Sentinel, useViewer } from "./grid.js";
import { Empty, Loading, Notice, Trouble } from "./notices.js";
import { usePages } from "./pages.js";
import { STATES, count } from "./words.js";

const encode = encodeURIComponent;

// Airflow 3.1 to 3.3 hand over where the component stands; the address tells it as well.
function placeOf({ dagId, runId, taskId, mapIndex }) {
  const match = /\/dags\/([^/]+)\/runs\/([^/]+)(?:\/tasks\/([^/]+)(?:\/mapped\/(\d+))?)?\//.exec(location.pathname);
  const found = match?.slice(1).map((part) => part && decodeURIComponent(part)) ?? [];
  const [dag, run, task] = [dagId ?? found[0], runId ?? found[1], taskId ?? found[2]];
  const index = /^\d+$/.test(mapIndex ?? found[3] ?? "") ? (mapIndex ?? found[3]) : "-1";
  if (!dag || !run) return { kind: "nav", path: "api/pictures" };
  const path = `api/dags/${encode(dag)}/runs/${encode(run)}`;
  return task
    ? { kind: "task", path: `${path}/tasks/${encode(task)}/${index}/pictures` }
    : { kind: "run", path: `${path}/pictures` };
}

function Choice({ label, value, options, onChange }) {
  const id = useId();
  return h(
    "div",
    { className: "it-choice" },
    h("label", { htmlFor: id }, label),
    h(
      "select",
      { id, value, onChange: (event) => onChange(event.target.value) },
      h("option", { value: "" }, "All"),
      options.map(([name, title]) => h("option", { key: name, value: name }, title)),
    ),
  );
}

const FILTERS = ["dag_id", "state", "service"];

// The address keeps the filter, so that it can be handed on and survives a reload.
function useFilter() {
  const [filter, setFilter] = useState(() => {
    const asked = new URLSearchParams(location.search);
    return Object.fromEntries(FILTERS.map((name) => [name, asked.get(name) ?? ""]));
  });
  const choose = (name, value) => {
    const url = new URL(location.href);
    value ? url.searchParams.set(name, value) : url.searchParams.delete(name);
    history.replaceState(history.state, "", url);
    setFilter((known) => ({ ...known, [name]: value }));
  };
  return [filter, choose];
}

function Filters({ kind, filter, choose, first }) {
  if (kind === "task") return null;
  const same = (names) => names.map((name) => [name, name]);
  const dags = [...new Set([...(first?.dags ?? []), ...(filter.dag_id ? [filter.dag_id] : [])])];
  const services = [...new Set([...(first?.services ?? []), ...(filter.service ? [filter.service] : [])])];
  return h(
    "div",
    { className: "it-filters", role: "group", "aria-label": "Filter" },
    kind === "nav" ? h(Choice, { label: "Dag", value: filter.dag_id, options: same(dags), onChange: (value) => choose("dag_id", value) }) : null,
    h(Choice, { label: "State", value: filter.state, options: Object.entries(STATES), onChange: (value) => choose("state", value) }),
    kind === "nav" ? h(Choice, { label: "Service", value: filter.service, options: same(services), onChange: (value) => choose("service", value) }) : null,
  );
}

function summary(items, hasMore) {
  const pictures = items.reduce((sum, item) => sum + (item.kind === "picture" ? item.pictures.length : item.counts.succeeded), 0);
  const underWay = items.filter((item) => item.kind === "batch" && item.state === "waiting").length;
  const waiting = items.filter((item) => item.kind === "picture" && item.state === "waiting").length;
  const failed = items.filter((item) => item.kind === "picture" && item.state === "failed").length;
  const parts = [];
  if (underWay) parts.push(`${underWay} ${underWay === 1 ? "batch" : "batches"} under way`);
  if (waiting) parts.push(`${waiting} waiting`);
  if (failed) parts.push(`${failed} failed`);
  if (pictures || !parts.length) parts.unshift(`${count(pictures, "picture")}${hasMore ? " so far" : ""}`);
  return parts.join(" · ");
}

export function Gallery(props) {
  const { kind, path } = placeOf(props ?? {});
  const [filter, choose] = useFilter();
  const query = kind === "task" ? {} : kind === "run" ? { state: filter.state } : filter;
  const list = usePages(path, query);
  const { items, first } = list;
  const [viewer, onOpen] = useViewer(items);
  const isFiltered = Object.values(query).some(Boolean);
  const batches = kind === "nav" ? [] : items.filter((item) => item.kind === "batch");
  const cards = kind === "nav" ? items : items.filter((item) => item.kind !== "batch");
  const hidden = first && !first.has_roots && items.some((item) => item.pictures.length);

  let body = null;
  if (list.isLoading) body = h(Loading);
  else if (!first) body = h(Trouble, { error: list.error, onRetry: list.refresh });
  else if (!items.length && !list.hasMore) body = h(Empty, { kind, isFiltered, taskState: first.task_state });
  return h(
    "section",
    { className: `it it-page it-page-${kind}`, "aria-label": "Pictures of image tasks", "aria-busy": list.isLoading },
    h(
      "header",
      { className: "it-head" },
      kind === "nav" ? h("h1", null, "Image tasks") : null,
      h("p", { className: "it-quiet", role: "status" }, first && items.length ? summary(items, list.hasMore) : "\u00a0"),
      h(Filters, { kind, filter, choose, first }),
    ),
    first && list.error ? h(Notice, { tone: "trouble" }, "The last update failed; what is shown may be old. It is tried again.") : null,
    hidden
      ? h(Notice, { tone: "hint" }, "Pictures are stored, but not shown: set ", h("code", null, "[imagetasks] gallery_roots"), " on the api-server to the folders that they are stored in.")
      : null,
    body,
    batches.map((item) => h(BatchPanel, { key: item.key, item, state: query.state })),
    cards.length ? h(Grid, { items: cards, kind, onOpen }) : null,
    list.hasMore ? h(Sentinel, { more: list.more, isIdle: items.length }) : null,
    viewer,
  );
}
