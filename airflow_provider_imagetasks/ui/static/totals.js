// What the latest image tasks come to: drawn by day, Dag, model and service, read when somebody opens it.
import { API, h, useEffect, useState } from "./elements.js";
import { amount, cost, count } from "./words.js";

const GROUPS = [
  ["day", "By day"],
  ["dag_id", "By Dag"],
  ["model", "By model"],
  ["service", "By service"],
];

const BOOKED_GROUPS = [
  ["day", "Spent by day"],
  ["dag_id", "Spent by Dag"],
  ["model", "Spent by model"],
];

// Amounts of two currencies are never added up.
const spentWords = (spent) => Object.entries(spent).map(([currency, value]) => cost(value, currency)).join(" and ");

const words = ({ pictures, failed, spent }) =>
  [count(pictures, "picture"), failed ? `${amount(failed)} failed` : null, spent ? `cost ${spentWords(spent)}` : null].filter(Boolean).join(" · ");

// What had no known price is told by its number alone.
function spendingWords({ submissions, spent }) {
  const { "": _, ...known } = spent;
  return [Object.keys(known).length ? spentWords(known) : null, count(submissions, "submission"), "" in spent ? "some at an unknown price" : null].filter(Boolean).join(" · ");
}

function Lines({ title, rows }) {
  return h(
    "figure",
    { className: "it-bars" },
    h("figcaption", null, title),
    h("dl", null, rows.map((row) => h("div", { key: row.name }, h("dt", { title: row.name }, row.name || "unknown"), h("dd", null, spendingWords(row))))),
  );
}

// What the account store counted, single pictures and batches that still run too.
function Booked({ booked }) {
  return h(
    "section",
    { className: "it-booked", "aria-label": "Spent" },
    h("p", null, h("strong", null, `Spent: ${spendingWords(booked.all)}`), booked.is_complete ? "" : ", in the latest days"),
    h("div", { className: "it-groups" }, BOOKED_GROUPS.map(([name, title]) => h(Lines, { key: name, title, rows: booked[name] }))),
    h("p", { className: "it-quiet" }, `Counted as budgets count it, at the known prices; days are in ${booked.zone}.`),
  );
}

function Bars({ title, rows }) {
  const most = Math.max(1, ...rows.map((row) => row.pictures + row.failed));
  const share = (number) => ({ width: `${(100 * number) / most}%` });
  return h(
    "figure",
    { className: "it-bars" },
    h("figcaption", null, title),
    h(
      "dl",
      null,
      rows.map((row) =>
        h(
          "div",
          { key: row.name },
          h("dt", { title: row.name }, row.name || "unknown"),
          h(
            "dd",
            null,
            h("span", { className: "it-bar", "aria-hidden": true }, h("span", { className: "it-bar-succeeded", style: share(row.pictures) }), h("span", { className: "it-bar-failed", style: share(row.failed) })),
            h("span", null, words(row)),
          ),
        ),
      ),
    ),
  );
}

export function Totals({ query }) {
  const [isOpen, setOpen] = useState(false);
  const [found, setFound] = useState(null);
  const { dag_id, run_id, since, until } = query;
  const key = JSON.stringify([dag_id, run_id, since, until]);
  useEffect(() => {
    if (!isOpen) return undefined;
    const controller = new AbortController();
    const url = new URL(`${API}api/totals`, location.origin);
    for (const [name, value] of Object.entries({ dag_id, run_id, since, until })) if (value) url.searchParams.set(name, value);
    setFound(null);
    fetch(url, { signal: controller.signal })
      .then(async (response) => setFound(response.ok ? await response.json() : { error: response.status }))
      .catch(() => controller.signal.aborted || setFound({ error: 0 }));
    return () => controller.abort();
  }, [isOpen, key]);
  let body = h("p", { role: "status" }, "Adding up…");
  if (found?.error != null) body = h("p", { role: "alert" }, "The totals cannot be read.");
  else if (found) {
    body = [
      h("p", { key: "all" }, h("strong", null, words(found.all)), found.is_complete ? "" : `, of the latest ${amount(found.looked_at)} image tasks and batches`),
      h("div", { key: "groups", className: "it-groups" }, GROUPS.map(([name, title]) => h(Bars, { key: name, title, rows: found[name] }))),
      found.all.spent ? h("p", { key: "prices", className: "it-quiet" }, "Costs are those of finished batches, at the prices they know.") : null,
      found.booked?.all.submissions ? h(Booked, { key: "booked", booked: found.booked }) : null,
    ];
  }
  return h(
    "details",
    { className: "it-totals", onToggle: (event) => setOpen(event.currentTarget.open) },
    h("summary", null, "Totals"),
    isOpen ? body : null,
  );
}
