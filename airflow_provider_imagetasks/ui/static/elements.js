// React as Airflow brings it. Text only ever goes in as children, which React does not read as HTML.
const { React, ReactRouterDOM } = globalThis;

export const h = React.createElement;
export const { Fragment, memo, useCallback, useEffect, useId, useLayoutEffect, useMemo, useRef, useState, useSyncExternalStore } = React;

// Where this file is served from tells where Airflow is, also behind a proxy's path.
export const API = new URL("../", import.meta.url).pathname;
export const AIRFLOW = new URL("../../", import.meta.url).pathname;

const encode = encodeURIComponent;
// As Airflow writes them in its own addresses: it knows a place again by the very text.
const segment = (text) => encodeURI(text).replace(/[/?#]/g, encode);

export const runPath = ({ dag_id, run_id }) => `dags/${segment(dag_id)}/runs/${segment(run_id)}`;

const taskBase = (place) =>
  `${runPath(place)}/tasks/${segment(place.task_id)}${place.map_index >= 0 ? `/mapped/${place.map_index}` : ""}`;

// Airflow 3.4 tells iterations of a loop apart by what stands behind the question mark.
const regionQuery = ({ region_id, region_index }) => (region_id ? `?region_id=${encode(region_id)}&region_index=${region_index}` : "");

export const taskPath = (place) => taskBase(place) + regionQuery(place);

export const dagPictures = (dagId) => `dags/${segment(dagId)}/plugin/image-tasks-dag`;

export const runPictures = (place) => `${runPath(place)}/plugin/image-tasks-run`;

export const taskPictures = (place) => `${taskBase(place)}/plugin/image-tasks-task${regionQuery(place)}`;

// The routes of the gallery itself.
export const runRoute = ({ dag_id, run_id }) => `api/dags/${encode(dag_id)}/runs/${encode(run_id)}`;

export const taskRoute = (place, what) =>
  `${runRoute(place)}/tasks/${encode(place.task_id)}/${place.map_index}/${what}${regionQuery(place)}`;

// Counted from 0, as Airflow does, whose own answers have it one level deeper.
const iterationOf = (place) => place.iteration ?? place.loop_iteration?.iteration;

export const nameOf = (place) => {
  const iteration = iterationOf(place);
  const index = place.map_index >= 0 ? ` [${place.map_index}]` : "";
  return place.task_id + index + (iteration != null ? `, iteration ${iteration}` : "");
};

// A link within Airflow, which does not load the page anew.
export const AirflowLink = ({ to, ...others }) => h(ReactRouterDOM.Link, { to: `/${to}`, ...others });

// What scrolls, which is what nearness to its edges is told of.
export const scroller = (element) => element.closest(".it-page");

export const Button = ({ className = "", ...others }) =>
  h("button", { type: "button", className: `it-button ${className}`, ...others });

// The gallery speaks English, whichever language and direction Airflow was told to have.
export const OURS = { lang: "en", dir: "ltr" };

// A dialog above the page, which Escape and a click beside it close.
export function Dialog({ className, label, onClose, children, ...others }) {
  const dialog = useRef(null);
  const isPressedBeside = useRef(false);
  const isBeside = ({ target, clientX, clientY }) => {
    const { left, right, top, bottom } = dialog.current.getBoundingClientRect();
    return target === dialog.current && (clientX < left || clientX > right || clientY < top || clientY > bottom);
  };
  useEffect(() => {
    if (!dialog.current.open) dialog.current.showModal();
    // What had the focus may be gone with the picture that it belonged to, and keys must still arrive here.
    if (!dialog.current.contains(document.activeElement)) dialog.current.focus();
  });
  return h(
    "dialog",
    {
      ref: dialog,
      tabIndex: -1,
      className: `it ${className}`,
      ...OURS,
      "aria-label": label,
      onClose,
      // Who marks a text with the mouse may let go beside the dialog.
      onPointerDown: (event) => (isPressedBeside.current = isBeside(event)),
      onClick: (event) => isPressedBeside.current && isBeside(event) && dialog.current.close(),
      ...others,
    },
    children,
  );
}

export const closeDialog = (event) => event.currentTarget.closest("dialog").close();
