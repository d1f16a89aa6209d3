// The gallery in its places: a page of its own, and tabs on a Dag, a Dag run and a task instance.
import { useAddress } from "./address.js";
import { BatchPanel } from "./batch.js";
import { OURS, h, useCallback, useLayoutEffect, useRef, useState } from "./elements.js";
import { Filters, isFiltered, useSeen } from "./filters.js";
import { Grid, Sentinel, lookedAtWords, useViewer } from "./grid.js";
import { Empty, Loading, Notice, Trouble, outdatedWords } from "./notices.js";
import { goesByResult, usePages } from "./pages.js";
import { SelectionBar, useSelection } from "./selection.js";
import { Totals } from "./totals.js";
import { amount, count } from "./words.js";

const encode = encodeURIComponent;

// An address that was typed by hand may hold anything.
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

// Airflow hands over where the component stands; the address tells it as well, and alone which iteration of a loop.
function placeOf({ dagId, runId, taskId, mapIndex }) {
  const match = /\/dags\/([^/]+)\/(?:runs\/([^/]+)(?:\/tasks\/([^/]+)(?:\/mapped\/(\d+))?)?\/)?/.exec(location.pathname);
  const found = match?.slice(1).map((part) => part && decoded(part)) ?? [];
  const [dag, run, task] = [dagId ?? found[0], runId ?? found[1], taskId ?? found[2]];
  const index = /^\d+$/.test(mapIndex ?? found[3] ?? "") ? (mapIndex ?? found[3]) : "-1";
  if (!dag) return { kind: "nav", path: "api/pictures" };
  if (!run) return { kind: "dag", path: "api/pictures", dag };
  const path = `api/dags/${encode(dag)}/runs/${encode(run)}`;
  const [region, position] = ["region_id", "region_index"].map((name) => new URLSearchParams(location.search).get(name));
  const iteration = region && position ? `?region_id=${encode(region)}&region_index=${encode(position)}` : "";
  return task
    ? { kind: "task", path: `${path}/tasks/${encode(task)}/${index}/pictures${iteration}` }
    : { kind: "run", path: `${path}/pictures` };
}

const ASKED = {
  nav: ["dag_id", "run_id", "state", "service", "model", "error", "search", "since", "until", "order"],
  dag: ["run_id", "state", "service", "model", "error", "search", "since", "until", "order"],
  run: ["state", "service", "model", "error", "search", "order"],
  task: [],
};

function summary(items, list) {
  const single = items.filter((item) => item.kind === "picture");
  const batches = items.filter((item) => item.kind === "batch");
  const of = (state) => single.filter((item) => item.state === state).length;
  const pictures = single.reduce((sum, item) => sum + item.pictures.length, 0) + batches.reduce((sum, item) => sum + item.counts.succeeded, 0);
  const underWay = batches.filter((item) => item.state === "waiting").length;
  const failed = of("failed") + batches.reduce((sum, item) => sum + item.counts.failed, 0);
  const parts = [
    [underWay, `${underWay} ${underWay === 1 ? "batch" : "batches"} under way`],
    [of("waiting"), `${amount(of("waiting"))} waiting`],
    [of("ready"), `${amount(of("ready"))} about to be stored`],
    [of("not_stored"), `${amount(of("not_stored"))} not stored`],
    [of("retried"), `${amount(of("retried"))} tried again`],
    [failed, `${amount(failed)} failed`],
    [of("unfinished"), `${amount(of("unfinished"))} without result`],
  ]
    .filter(([number]) => number)
    .map(([, words]) => words);
  if (pictures || !parts.length) parts.unshift(count(pictures, "picture"));
  const ordered = list.isOrdered && list.lookedAt < list.total ? `sorted among the first ${amount(list.lookedAt)} of ${amount(list.total)}` : null;
  const shown = items.length < list.total ? `${amount(items.length)} of ${amount(list.total)} shown` : null;
  return [list.hasMore ? `${parts.join(" · ")} so far` : parts.join(" · "), ordered ?? shown].filter(Boolean).join(" · ");
}

// Where one was, for who comes back.
const scrolled = new Map();

function useScroll(key, isReady) {
  const place = useRef(null);
  useLayoutEffect(() => {
    if (!isReady) return undefined;
    const page = place.current;
    // Cards are laid out once it is known how many go side by side.
    let isThere = !scrolled.get(key);
    const frame = requestAnimationFrame(() => {
      if (!isThere) page.scrollTop = scrolled.get(key);
      isThere = true;
    });
    return () => {
      cancelAnimationFrame(frame);
      if (isThere) scrolled.set(key, page.scrollTop);
    };
  }, [key, isReady]);
  return { ref: place };
}

export function Gallery(props) {
  const { kind, path, dag } = placeOf(props ?? {});
  const address = useAddress();
  const { filter, change } = address;
  const query = { ...Object.fromEntries(ASKED[kind].map((name) => [name, filter[name]])), ...(dag ? { dag_id: dag } : {}) };
  const isNarrowed = isFiltered({ ...query, ...(dag ? { dag_id: "" } : {}) });
  const list = { ...usePages(path, query), isOrdered: goesByResult(query.order) };
  const { items, first } = list;
  const isOfBatch = (shown) => items.some((item) => item.kind === "batch" && shown.startsWith(`${item.key}/`));
  const [viewer, onOpen] = useViewer(items, list, address, (shown) => !isOfBatch(shown));
  const selection = useSelection();
  const [failures, setFailures] = useState([]);
  const onSeen = useCallback((names) => setFailures((known) => [...new Set([...known, ...names])]), []);
  const [rows, setRows] = useState({});
  const onRows = useCallback((key, found) => setRows((known) => ({ ...known, [key]: found })), []);
  const seen = useSeen(items, failures);
  const isPage = kind === "nav" || kind === "dag";
  const batches = isPage ? [] : items.filter((item) => item.kind === "batch");
  const cards = isPage ? items : items.filter((item) => item.kind !== "batch");
  const hidden = first && !first.has_roots && items.some((item) => item.pictures.length);

  let body = null;
  if (list.isLoading) body = h(Loading);
  else if (!first) body = h(Trouble, { error: list.error, onRetry: list.refresh });
  else if (!items.length && !list.hasMore) body = h(Empty, { kind, isFiltered: isNarrowed, taskState: first.task_state });
  return h(
    kind === "nav" ? "main" : "section",
    { className: `it it-page it-page-${kind}`, ...OURS, "aria-label": "Pictures of image tasks", "aria-busy": list.isLoading, ...useScroll(location.pathname, !list.isLoading) },
    h(
      "header",
      { className: "it-head" },
      kind === "nav" ? h("h1", null, "Image tasks") : null,
      h("p", { className: "it-quiet", role: "status" }, first && (items.length || list.hasMore) ? summary(items, list) : "\u00a0"),
      h(Filters, { kind, hasBatches: batches.length > 0, filter, change, seen, dags: first?.dags ?? [] }),
    ),
    first && list.error ? h(Notice, { tone: "trouble" }, "The last update failed, so this may be out of date. ", outdatedWords(list.error)) : null,
    hidden
      ? h(Notice, { tone: "hint" }, "Pictures are stored, but not shown: set ", h("code", null, "[imagetasks] gallery_roots"), " on the api-server to the folders they are stored in.")
      : null,
    isPage && first ? h(Totals, { query }) : null,
    body,
    batches.map((item) => h(BatchPanel, { key: item.key, item, filter, address, selection, onSeen, onRows, onCleared: list.refresh })),
    cards.length ? h(Grid, { items: cards, kind: isPage ? "nav" : kind, onOpen, selection, filter }) : null,
    list.hasMore ? h(Sentinel, { more: list.more, pageCount: list.pageCount, words: isNarrowed ? lookedAtWords(list) : null }) : null,
    h(SelectionBar, { selection, shown: [...cards, ...Object.values(rows).flat()] }),
    viewer,
  );
}
