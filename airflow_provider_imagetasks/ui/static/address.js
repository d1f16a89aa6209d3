// What is asked for and what is open stands in the address, so that it can be handed on, survives a reload and closes by
// Back. The names are our own: Airflow reads parameters of its own from the same address.
import { useCallback, useMemo, useRef, useSearchParams } from "./elements.js";

const PREFIX = "pictures_";
export const FILTERS = ["dag_id", "run_id", "state", "service", "model", "error", "search", "since", "until", "order", "row"];

export function useAddress() {
  const [parameters, setParameters] = useSearchParams();
  const text = parameters.toString();
  const filter = useMemo(
    () => Object.fromEntries(FILTERS.map((name) => [name, parameters.get(PREFIX + name) ?? ""])),
    [text],
  );
  const shown = parameters.get(`${PREFIX}open`);
  const pushed = useRef(false);
  // Airflow's own function changes with each address, and what is memorised must not.
  const latest = useRef(setParameters);
  latest.current = setParameters;

  const change = useCallback((values, options) => {
    latest.current(
      (known) => {
        const next = new URLSearchParams(known);
        for (const [name, value] of Object.entries(values)) value ? next.set(PREFIX + name, value) : next.delete(PREFIX + name);
        return next;
      },
      { replace: true, preventScrollReset: true, ...options },
    );
  }, []);

  const open = useCallback((value) => {
    change({ open: value }, { replace: pushed.current });
    pushed.current = true;
  }, []);

  const close = useCallback(() => {
    // Back leads to where it was opened; who came by a link to one picture has nothing to go back to.
    pushed.current ? history.back() : change({ open: null });
    pushed.current = false;
  }, []);

  if (!shown) pushed.current = false;
  return { filter, shown, change, open, close };
}

// The address under which one picture is shown, whatever is filtered here.
export function addressOf(path, values) {
  const url = new URL(path, location.origin);
  for (const [name, value] of Object.entries(values)) if (value != null && value !== "") url.searchParams.set(PREFIX + name, value);
  return url.href;
}
