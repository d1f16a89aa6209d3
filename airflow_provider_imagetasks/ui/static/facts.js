// All that is known of an image task: what was asked for, and what came of it.
import { API, AirflowLink, h, nameOf, runPath, taskPath, taskRoute, useEffect, useState } from "./elements.js";
import { Thumbnail, fileOf } from "./pictures.js";
import { STATES, bytes, cost, duration, moment, usageWords } from "./words.js";

// Read when somebody looks; nothing where the request is not known any more.
export function useRequest(item) {
  const [found, setFound] = useState({});
  useEffect(() => {
    const controller = new AbortController();
    const url = new URL(API + taskRoute(item, "request"), location.origin);
    if (item.index != null) url.searchParams.set("row", item.index);
    fetch(url, { signal: controller.signal })
      .then((response) => (response.ok ? response.json() : {}))
      .then((request) => setFound({ key: item.key, request }))
      .catch(() => {});
    return () => controller.abort();
  }, [item.key]);
  return found.key === item.key ? found.request : {};
}

export function parametersOf(request) {
  return Object.entries(request.options ?? {}).map(([name, value]) => [name.replaceAll("_", " "), value]);
}

export function Rows({ rows }) {
  return h(
    "dl",
    null,
    rows.filter(([, value]) => value != null && value !== "").map(([name, value], index) => h("div", { key: `${index} ${name}` }, h("dt", null, name), h("dd", null, value))),
  );
}

export function Facts({ item, picture, request }) {
  const size = picture?.width ? `${picture.width} × ${picture.height}${picture.bytes ? `, ${bytes(picture.bytes)}` : ""}` : null;
  return [
    h(Rows, {
      key: "asked",
      rows: [["Model", item.model], ...parametersOf(request)],
    }),
    request.images?.length
      ? h(
          "div",
          { key: "images", className: "it-references" },
          h("h3", null, "Made from"),
          request.images.slice(0, 8).map((image, index) =>
            h("a", { key: index, href: image.link ? fileOf(image) : undefined, target: "_blank", rel: "noreferrer", title: image.uri },
              image.link ? h(Thumbnail, { picture: image, alt: `Reference ${image.uri}` }) : h("span", null, image.uri)),
          ),
        )
      : null,
    h(Rows, {
      key: "came",
      rows: [
        ["State", STATES[item.state]],
        ["Picture", size],
        ["Duration", item.duration != null ? duration(item.duration) : null],
        ["Submitted", item.submitted_at ? moment(item.submitted_at) : null],
        ["Row", item.row_id ?? item.index],
        ["Cost", item.cost != null ? cost(item.cost, item.currency) : null],
        ["Service", item.service],
        ["Connection", item.conn_id],
        ["Image task", item.image_task_id],
        ["Trace id", item.trace_id],
        ["Usage", usageWords(item.usage)],
        ["Path", picture?.uri],
        ["Dag run", h(AirflowLink, { to: runPath(item) }, `${item.dag_id}, ${item.run_id}`)],
        ["Task instance", h(AirflowLink, { to: taskPath(item) }, nameOf(item))],
      ],
    }),
  ];
}
