// What is asked for and what is open stands in the address, so that it can be handed on, survives a reload and closes by
// Back. The names are our own: Airflow reads parameters of its own from the same address.
import { useCallback, useMemo, useSyncExternalStore } from "./elements.js";

const PREFIX = "pictures_";
export const FILTERS = ["dag_id", "run_id", "state", "service", "model", "error", "search", "since", "until", "order", "row"];

// Airflow makes a plugin anew whenever its router sees another address, so the router is not told of what concerns only us.
const listeners = new Set();
const tell = () => listeners.forEach((listener) => listener());

function subscribe(listener) {
  listeners.add(listener);
  addEventListener("popstate", listener);
  return () => {
    listeners.delete(listener);
    removeEventListener("popstate", listener);
  };
}

function change(values, { pushes = false } = {}) {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(values)) {
    value ? url.searchParams.set(PREFIX + name, value) : url.searchParams.delete(PREFIX + name);
  }
  pushes ? history.pushState({ ...history.state, picturesOpened: true }, "", url) : history.replaceState(history.state, "", url);
  tell();
}

export function useAddress() {
  const text = useSyncExternalStore(subscribe, () => location.search);
  const filter = useMemo(() => {
    const asked = new URLSearchParams(text);
    return Object.fromEntries(FILTERS.map((name) => [name, asked.get(PREFIX + name) ?? ""]));
  }, [text]);
  const shown = new URLSearchParams(text).get(`${PREFIX}open`);
  const open = useCallback((value) => change({ open: value }, { pushes: !history.state?.picturesOpened }), []);
  const close = useCallback(() => change({ open: null }), []);
  return { filter, shown, change, open, close };
}

// The address under which one picture is shown, whatever is filtered here.
export function addressOf(path, values) {
  const url = new URL(path, location.origin);
  for (const [name, value] of Object.entries(values)) if (value != null && value !== "") url.searchParams.set(PREFIX + name, value);
  return url.href;
}
