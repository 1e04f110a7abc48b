/* Points in a box that can be turned and drawn nearer; the drawing is that of omokage.plots.space. */
(() => {
  const DISTANCE = 7, REACH = 1.7, STILL = { azimuth: 35, elevation: 20, zoom: 1 };
  const corners = [0, 1, 2, 3, 4, 5, 6, 7].map((k) => [k & 4 ? 1 : -1, k & 2 ? 1 : -1, k & 1 ? 1 : -1]);
  const edges = [];
  for (let i = 0; i < 8; i++) {
    for (const bit of [1, 2, 4]) if (!(i & bit)) edges.push([corners[i], corners[i | bit]]);
  }

  function start(canvas) {
    const data = JSON.parse(canvas.dataset.cloud);
    const count = data.kinds.length, points = [];
    for (let i = 0; i < count; i++) points.push(data.points.slice(3 * i, 3 * i + 3).map((value) => value / 1000));
    const context = canvas.getContext("2d");
    let view = { ...STILL }, waiting = false;

    function draw() {
      waiting = false;
      const style = getComputedStyle(canvas), colour = (name) => style.getPropertyValue(name).trim();
      const size = canvas.clientWidth, sharp = window.devicePixelRatio || 1;
      canvas.width = canvas.height = Math.round(size * sharp);
      const unit = (size / 2 / REACH) * view.zoom;
      const a = (view.azimuth * Math.PI) / 180, e = (view.elevation * Math.PI) / 180;
      const seen = ([x, y, z]) => {
        const away = x * Math.sin(a) + y * Math.cos(a), near = z * Math.sin(e) + away * Math.cos(e);
        const scale = (unit * DISTANCE) / (DISTANCE - near);
        const right = x * Math.cos(a) - y * Math.sin(a), up = z * Math.cos(e) - away * Math.sin(e);
        return [size / 2 + right * scale, size / 2 - up * scale, near];
      };
      context.setTransform(sharp, 0, 0, sharp, 0, 0);
      context.clearRect(0, 0, size, size);
      context.strokeStyle = colour("--rule");
      context.lineWidth = 1;
      context.beginPath();
      for (const [from, to] of edges) {
        context.moveTo(...seen(from).slice(0, 2));
        context.lineTo(...seen(to).slice(0, 2));
      }
      context.stroke();
      const placed = points.map((point, i) => [...seen(point), data.kinds[i]]).sort((one, other) => one[2] - other[2]);
      const plain = colour("--training");
      for (const [right, down, near, kind] of placed) {
        const nearness = Math.min(Math.max(near / Math.sqrt(3) / 2 + 0.5, 0), 1);
        context.globalAlpha = 0.45 + 0.5 * nearness;
        context.fillStyle = data.colours[kind] || plain;
        context.beginPath();
        context.arc(right, down, (1.7 + nearness) * Math.sqrt(view.zoom), 0, 2 * Math.PI);
        context.fill();
      }
      context.globalAlpha = 1;
      context.fillStyle = colour("--muted");
      context.font = "13px " + (colour("--sans") || "sans-serif");
      context.textAlign = "center";
      context.textBaseline = "middle";
      data.axes.forEach((name, j) => {
        const [right, down] = seen([0, 1, 2].map((k) => (k === j ? 1.25 : -1)));
        context.fillText(name, right, down);
      });
    }

    function turn(change) {
      view.azimuth += change.azimuth || 0;
      view.elevation = Math.min(Math.max(view.elevation + (change.elevation || 0), -90), 90);
      view.zoom = Math.min(Math.max(view.zoom * (change.zoom || 1), 0.6), 8);
      later();
    }

    function later() {
      if (!waiting) requestAnimationFrame(draw);
      waiting = true;
    }

    let held = null;
    canvas.addEventListener("pointerdown", (event) => {
      held = event;
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!held || event.pointerId !== held.pointerId) return;
      turn({ azimuth: (held.clientX - event.clientX) / 2, elevation: (event.clientY - held.clientY) / 2 });
      held = event;
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (held = null));
    canvas.addEventListener("wheel", (event) => {
      const before = view.zoom;
      turn({ zoom: Math.exp(-event.deltaY / 500) });
      if (view.zoom !== before) event.preventDefault(); /* at either end the page scrolls on */
    }, { passive: false });
    const keys = {
      ArrowLeft: { azimuth: 5 }, ArrowRight: { azimuth: -5 }, ArrowUp: { elevation: -5 }, ArrowDown: { elevation: 5 },
      "+": { zoom: 1.15 }, "-": { zoom: 1 / 1.15 },
    };
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "Home") view = { ...STILL };
      else if (!keys[event.key]) return;
      turn(keys[event.key] || {});
      event.preventDefault();
    });
    new ResizeObserver(later).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", later);
    draw();
  }

  document.querySelectorAll("canvas[data-cloud]").forEach(start);
})();
