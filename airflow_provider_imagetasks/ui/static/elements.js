// React as Airflow brings it. Text only ever goes in as children, which React does not read as HTML.
const { React, ReactRouterDOM } = globalThis;

export const h = React.createElement;
export const { Fragment, memo, useCallback, useEffect, useId, useMemo, useRef, useState, useSyncExternalStore } = React;

// Where this file is served from tells where Airflow is, also behind a proxy's path.
export const API = new URL("../", import.meta.url).pathname;
const AIRFLOW = new URL("../../", import.meta.url).pathname;

const encode = encodeURIComponent;

export const runPath = ({ dag_id, run_id }) => `dags/${encode(dag_id)}/runs/${encode(run_id)}`;

export const taskPath = (place) =>
  `${runPath(place)}/tasks/${encode(place.task_id)}${place.map_index >= 0 ? `/mapped/${place.map_index}` : ""}`;

export const runPictures = (place) => `${runPath(place)}/plugin/image-tasks-run`;

export const taskPictures = (place) => `${taskPath(place)}/plugin/image-tasks-task`;

// A link within Airflow, which does not load the page anew.
export const AirflowLink = ({ to, ...others }) =>
  ReactRouterDOM?.Link
    ? h(ReactRouterDOM.Link, { to: `/${to}`, ...others })
    : h("a", { href: AIRFLOW + to, ...others });
