// The controls by which one finds: words, choices, times, order. What they say stands in the address.
import { Button, h, useEffect, useId, useRef, useState } from "./elements.js";
import { ERRORS, STATES, moment } from "./words.js";

const TYPING_PAUSE = 350;

function Choice({ label, value, options, onChange, none = "All" }) {
  const id = useId();
  const known = options.some(([name]) => name === value) || !value ? options : [...options, [value, value]];
  return h(
    "div",
    { className: "it-choice" },
    h("label", { htmlFor: id }, label),
    h(
      "select",
      { id, value, onChange: (event) => onChange(event.target.value) },
      none ? h("option", { value: "" }, none) : null,
      known.map(([name, title]) => h("option", { key: name, value: name }, title)),
    ),
  );
}

function Search({ value, onChange, words }) {
  const [typed, setTyped] = useState(value);
  const timer = useRef(null);
  // A space at the end is the beginning of the next word.
  useEffect(() => setTyped((known) => (known.trim() === value ? known : value)), [value]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const type = (event) => {
    const text = event.target.value;
    setTyped(text);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => onChange(text.trim()), TYPING_PAUSE);
  };
  return h("input", { type: "search", className: "it-search", value: typed, onChange: type, placeholder: words, "aria-label": words, maxLength: 200 });
}

const AGES = [
  ["1", "Last hour"],
  ["24", "Last day"],
  ["168", "Last week"],
];

// Whole minutes, so that the same choice is the same question for a while.
const hoursAgo = (hours) => new Date(Math.floor((Date.now() - hours * 3_600_000) / 60_000) * 60_000).toISOString();

function age(since) {
  const hours = (Date.now() - Date.parse(since)) / 3_600_000;
  return since ? (AGES.find(([name]) => Math.abs(hours - Number(name)) < 1)?.[0] ?? since) : "";
}

const ORDERS = {
  page: [["", "Newest first"], ["oldest", "Oldest first"]],
  batch: [["", "In the order of the file"], ["end", "In order of completion"]],
  run: [["", "In the order of the tasks"]],
};
const BY_RESULT = [["failed", "Failures first"], ["duration", "Slowest first"], ["cost", "Costliest first"]];

const same = (names) => names.map((name) => [name, name]);

export const isFiltered = (filter) => Object.entries(filter).some(([name, value]) => value && name !== "order");

export function Filters({ kind, hasBatches, filter, change, seen, dags }) {
  if (kind === "task" && !hasBatches) return null;
  const set = (name) => (value) => change({ [name]: value });
  const isPage = kind === "nav" || kind === "dag";
  const orders = isPage ? ORDERS.page : hasBatches ? ORDERS.batch : ORDERS.run;
  return h(
    "div",
    { className: "it-filters", role: "group", "aria-label": "Filter" },
    h(Search, { value: filter.search, onChange: set("search"), words: "Prompt, row or image task" }),
    kind === "nav" ? h(Choice, { label: "Dag", value: filter.dag_id, options: same(dags), onChange: set("dag_id") }) : null,
    h(Choice, { label: "State", value: filter.state, options: Object.entries(STATES), onChange: set("state") }),
    seen.errors.length || filter.error
      ? h(Choice, { label: "Failure", value: filter.error, options: seen.errors.map((name) => [name, ERRORS[name] ?? name]), onChange: set("error") })
      : null,
    seen.services.length > 1 || filter.service ? h(Choice, { label: "Service", value: filter.service, options: same(seen.services), onChange: set("service") }) : null,
    seen.models.length > 1 || filter.model ? h(Choice, { label: "Model", value: filter.model, options: same(seen.models), onChange: set("model") }) : null,
    isPage
      ? h(Choice, { label: "Time", value: age(filter.since), options: AGES, none: "Last 30 days", onChange: (hours) => change({ since: hours ? hoursAgo(Number(hours)) : null, until: null }) })
      : null,
    h(Choice, { label: "Order", value: filter.order, options: [...orders, ...BY_RESULT], none: null, onChange: set("order") }),
    isPage && filter.until ? h(Button, { onClick: () => change({ until: null }), title: "Show newer ones too" }, `until ${moment(filter.until)} ×`) : null,
    filter.run_id ? h(Button, { onClick: () => change({ run_id: null }), title: "Show all runs" }, `${filter.run_id} ×`) : null,
    filter.row ? h(Button, { onClick: () => change({ row: null }), title: "Show all rows" }, `row ${filter.row} ×`) : null,
  );
}

// What there is to choose from, as far as it was seen.
export function useSeen(items, failures) {
  const seen = useRef({ services: new Set(), models: new Set(), errors: new Set() });
  const { services, models, errors } = seen.current;
  for (const item of items) {
    if (item.service) services.add(item.service);
    if (item.model) models.add(item.model);
    if (item.error?.class) errors.add(item.error.class);
  }
  for (const name of failures) if (name) errors.add(name);
  return { services: [...services].sort(), models: [...models].sort(), errors: [...errors].sort() };
}
