// Reads a list page by page, keeps what is still under way fresh, and rests while nobody looks.
import { API, useCallback, useEffect, useMemo, useRef, useState } from "./elements.js";

const LIVELY = 3000;
const CALM = 20000;

export class Refusal extends Error {
  constructor(status) {
    super(`HTTP ${status}`);
    this.status = status;
  }
}

async function read(path, query, signal) {
  const url = new URL(API + path, location.origin);
  for (const [name, value] of Object.entries(query)) if (value) url.searchParams.set(name, value);
  const response = await fetch(url, { signal, headers: { Accept: "application/json" } });
  if (!response.ok) throw new Refusal(response.status);
  return response.json();
}

// Orders for which the api-server reads thousands of image tasks at each request.
export const goesByResult = (order) => ["failed", "duration", "cost"].includes(order);

export const isLive = (item) => ["waiting", "ready", "retried"].includes(item.state);

const isSame = (one, other) =>
  one.next === other.next && one.items.map((item) => item.key).join() === other.items.map((item) => item.key).join();

// Fetches the pages again that may have changed: those with something under way, the last,
// and all where they have shifted.
async function refreshed(pages, load) {
  const fresh = [await load(null)];
  let shifted = !isSame(fresh[0], pages[0]);
  for (let index = 1; index < pages.length; index++) {
    const cursor = fresh[index - 1].next;
    if (!cursor) break;
    const isLast = index === pages.length - 1;
    const again = shifted || isLast || pages[index].items.some(isLive);
    fresh.push(again ? await load(cursor) : pages[index]);
    shifted ||= !isSame(fresh[index], pages[index]);
  }
  return fresh;
}

// What was read lately, for who comes back: Airflow makes a plugin anew with each step in its history.
const kept = new Map();
const KEPT_FOR = 60_000;
const MOST_KEPT = 20;

function keep(key, pages) {
  kept.delete(key);
  kept.set(key, { pages, at: Date.now() });
  if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
}

const keptPages = (key) => (Date.now() - (kept.get(key)?.at ?? 0) < KEPT_FOR ? kept.get(key).pages : null);

export function usePages(path, query) {
  const key = JSON.stringify([path, query]);
  const [state, setState] = useState({ key: null });
  const queue = useRef(null);
  const known = state.key === key ? state : { pages: keptPages(key), error: null };

  // One job after the other, and each kind at most once in the queue.
  const work = useCallback(
    (kind, job) => {
      const { controller, queued } = queue.current;
      const { signal } = controller;
      if (queued.has(kind)) return;
      queued.add(kind);
      const run = async () => {
        if (signal.aborted) return;
        const mine = queue.current;
        try {
          mine.pages = await job((cursor) => read(path, { ...query, cursor }, signal), mine.pages);
          if (signal.aborted) return;
          keep(key, mine.pages);
          setState({ key, pages: mine.pages, error: null });
        } catch (error) {
          if (!signal.aborted) setState({ key, pages: mine.pages, error });
        } finally {
          queued.delete(kind);
        }
      };
      queue.current.last = queue.current.last.then(run);
    },
    [key],
  );

  const refresh = useCallback(
    () => work("refresh", async (load, pages) => (pages ? refreshed(pages, load) : [await load(null)])),
    [work],
  );

  useEffect(() => {
    const controller = new AbortController();
    queue.current = { pages: keptPages(key), queued: new Set(), last: Promise.resolve(), controller };
    refresh();
    return () => controller.abort();
  }, [refresh]);

  const items = useMemo(
    () => [...new Map((known.pages ?? []).flatMap((page) => page.items).map((item) => [item.key, item])).values()],
    [known.pages],
  );
  const first = known.pages?.[0];
  const lively = !goesByResult(query.order) && (items.some(isLive) || first?.run_state === "running" || first?.run_state === "queued");

  useEffect(() => {
    const timer = setInterval(() => document.hidden || refresh(), lively ? LIVELY : CALM);
    const onReturn = () => document.hidden || refresh();
    document.addEventListener("visibilitychange", onReturn);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", onReturn);
    };
  }, [refresh, lively]);

  const pages = known.pages ?? [];
  const next = pages.at(-1)?.next;
  const more = useCallback(
    () =>
      work("more", async (load, pages) => {
        const cursor = pages?.at(-1).next;
        return cursor ? [...pages, await load(cursor)] : pages;
      }),
    [work],
  );
  return {
    items,
    first,
    hasMore: Boolean(next),
    more,
    refresh,
    error: known.error,
    isLoading: !known.pages && !known.error,
    pageCount: pages.length,
    total: first?.total,
    lookedAt: pages.reduce((sum, page) => sum + (page.looked_at ?? 0), 0),
  };
}
