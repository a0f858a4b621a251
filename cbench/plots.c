/*
 * The plots of the report: bars of all engines for a few workloads, lines over the size of the table, over limits of
 * memory and over the seconds of a long run. All axes of figures are in powers of ten.
 */
#include <math.h>
#include <stdlib.h>

#include "report.h"
#include "svg.h"

static const char *kind_of(const struct engine_facts *facts)
{
    return facts->is_ours ? "ours" : facts->is_limit ? "limit" : "peer";
}

/* Bars ============================================================================================================ */

#define BARS_MAX ENGINES_MAX
#define BAR_STEP 19.0
#define PANEL_WIDTH 430.0
#define NAME_WIDTH 80.0
#define VALUE_WIDTH 52.0

struct bar {
    const char *name, *kind;
    double value;
};

static int by_falling_value(const void *left, const void *right)
{
    double a = ((const struct bar *)left)->value, b = ((const struct bar *)right)->value;
    return (a < b) - (a > b);
}

static int gather_bars(const struct measured *measured, int workload, struct bar *bars)
{
    int count = 0;
    for (int engine = 0; engine < measured->engine_count; engine++) {
        double value = value_at(measured, workload, engine) * 1e3;
        const struct engine_facts *facts = &measured->engines[engine];
        if (value > 0) bars[count++] = (struct bar){facts->name, kind_of(facts), value};
    }
    qsort(bars, (size_t)count, sizeof *bars, by_falling_value);
    return count;
}

static void draw_bars(FILE *file, double x, double y, const char *title, const struct bar *bars, int count)
{
    char number[32];
    struct axis axis = axis_around(bars[count - 1].value * 0.6, bars[0].value, x + NAME_WIDTH,
        x + PANEL_WIDTH - VALUE_WIDTH);
    double bottom = y + 14 + BAR_STEP * count;
    svg_text(file, x + NAME_WIDTH, y, "panel", "start", title);
    for (double tick = pow(10, ceil(log10(axis.low) - 1e-9)); tick <= axis.high * 1.001; tick *= 10) {
        double place = place_on(&axis, tick);
        svg_line(file, place, y + 10, place, bottom, "grid");
        svg_text(file, place, bottom + 13, "tick", "middle", short_number(tick, number, sizeof number));
    }
    for (int i = 0; i < count; i++) {
        double top = y + 14 + BAR_STEP * i, end = place_on(&axis, bars[i].value);
        svg_text(file, axis.from - 7, top + 11, bars[i].kind, "end", bars[i].name);
        svg_box(file, axis.from, top, end - axis.from, BAR_STEP - 5, bars[i].kind);
        svg_text(file, end + 5, top + 11, "note", "start", short_number(bars[i].value, number, sizeof number));
    }
}

/* The case with the most engines among those of 100 bytes without a limit; the larger of equals. */
static const struct measured *main_case(const struct report *report)
{
    const struct measured *best = NULL;
    for (int i = 0; i < report->case_count; i++) {
        const struct measured *next = report->cases[i];
        if (next->record_size != 100 || next->memory_limit || find_workload(next, "read, 1 thread") < 0) continue;
        bool is_better = !best || next->engine_count > best->engine_count;
        bool is_equal = best && next->engine_count == best->engine_count;
        if (is_better || (is_equal && next->record_count > best->record_count)) best = next;
    }
    return best;
}

bool plot_peers(const struct report *report, const char *folder)
{
    static const struct {
        const char *workload, *title;
    } panels[] = {
        {"read, 1 thread", "Random reads a second, one thread"},
        {"scan, copied", "Records scanned a second"},
        {"overwrite, async", "Overwrites a second, one a commit, not synced"},
        {"ycsb A, 2 threads", "YCSB A (half are overwrites), two threads"},
        {"load, final sync", "Records loaded a second, to the end of a sync"},
        {"durable, 32 threads", "Durable commits a second, 32 threads"},
    };
    const struct measured *measured = main_case(report);
    if (!measured) return false;
    const int panel_count = sizeof panels / sizeof *panels;
    double row_height = BAR_STEP * measured->engine_count + 46;
    char title[128], count[32];
    snprintf(title, sizeof title, "%s records of 100 bytes",
        short_number((double)measured->record_count, count, sizeof count));
    FILE *file = svg_begin(folder, "peers", PANEL_WIDTH * 2 + 40, 80 + row_height * ((panel_count + 1) / 2),
        title, "DiamondDB is blue, its peers yellow, what the machine can do grey. Scales in powers of ten.");
    for (int i = 0; i < panel_count; i++) {
        struct bar bars[BARS_MAX];
        int count = gather_bars(measured, find_workload(measured, panels[i].workload), bars);
        double x = 10 + PANEL_WIDTH * (i % 2), y = 84 + row_height * (i / 2);
        if (count > 0) draw_bars(file, x, y, panels[i].title, bars, count);
    }
    svg_end(file);
    return true;
}

/* Curves ========================================================================================================== */

#define CURVE_MAX TIMELINE_MAX
#define CURVES_MAX ENGINES_MAX
#define LABEL_STEP 14.0

struct curve {
    const char *name, *kind;
    double x[CURVE_MAX], y[CURVE_MAX];
    int count;
};

struct graph {
    const char *title, *x_unit, *y_unit;
    struct curve curves[CURVES_MAX];
    int curve_count;
    /* Powers of ten, else even steps of 10. */
    bool x_is_log;
    bool has_dots;
};

/* A peer has one hue in all plots: that of its place among all peers that were ever drawn. */
static const char *hue_of(const struct engine_facts *facts)
{
    static const char *const names[HUE_COUNT] = {
        "hue0", "hue1", "hue2", "hue3", "hue4", "hue5", "hue6", "hue7", "hue8",
    };
    static char seen[HUE_COUNT][sizeof facts->name];
    if (facts->is_ours || facts->is_limit) return kind_of(facts);
    for (int i = 0; i < HUE_COUNT; i++) {
        if (!seen[i][0]) snprintf(seen[i], sizeof seen[i], "%s", facts->name);
        if (!strcmp(seen[i], facts->name)) return names[i];
    }
    return names[HUE_COUNT - 1];
}

static void add_point(struct graph *graph, const struct engine_facts *facts, double x, double y)
{
    struct curve *curve = NULL;
    if (y <= 0) return;
    for (int i = 0; i < graph->curve_count; i++) {
        if (!strcmp(graph->curves[i].name, facts->name)) curve = &graph->curves[i];
    }
    if (!curve) {
        if (graph->curve_count == CURVES_MAX) return;
        curve = &graph->curves[graph->curve_count++];
        curve->name = facts->name;
        curve->kind = hue_of(facts);
    }
    if (curve->count == CURVE_MAX) return;
    curve->x[curve->count] = x;
    curve->y[curve->count++] = y;
}

static int by_last_value(const void *left, const void *right)
{
    const struct curve *a = left, *b = right;
    double last_a = a->y[a->count - 1], last_b = b->y[b->count - 1];
    return (last_a < last_b) - (last_a > last_b);
}

/* Names at the ends of the curves, from above down, moved apart where they would touch. */
static void draw_names(FILE *file, const struct graph *graph, const struct axis *y_axis, double x)
{
    double last = y_axis->to - LABEL_STEP;
    double room = y_axis->from - y_axis->to;
    for (int i = 0; i < graph->curve_count; i++) {
        const struct curve *curve = &graph->curves[i];
        double place = place_on(y_axis, curve->y[curve->count - 1]) + 4;
        double lowest = y_axis->to + room - LABEL_STEP * (graph->curve_count - 1 - i) + 4;
        if (place > lowest) place = lowest;
        if (place < last + LABEL_STEP) place = last + LABEL_STEP;
        svg_text(file, x, place, curve->kind, "start", curve->name);
        last = place;
    }
}

static void find_extent(const struct graph *graph, double *least, double *most)
{
    for (int i = 0; i < graph->curve_count; i++) {
        const struct curve *curve = &graph->curves[i];
        for (int j = 0; j < curve->count; j++) {
            least[0] = fmin(least[0], curve->x[j]), most[0] = fmax(most[0], curve->x[j]);
            least[1] = fmin(least[1], curve->y[j]), most[1] = fmax(most[1], curve->y[j]);
        }
    }
}

static double place_x(const struct graph *graph, const struct axis *axis, double x)
{
    if (graph->x_is_log) return place_on(axis, x);
    return axis->from + (axis->to - axis->from) * (x - axis->low) / (axis->high - axis->low);
}

static void draw_grid(FILE *file, const struct graph *graph, const struct axis *x_axis, const struct axis *y_axis)
{
    char number[32];
    for (double tick = pow(10, ceil(log10(y_axis->low) - 1e-9)); tick <= y_axis->high * 1.001; tick *= 10) {
        double place = place_on(y_axis, tick);
        svg_line(file, x_axis->from, place, x_axis->to, place, "grid");
        svg_text(file, x_axis->from - 6, place + 4, "tick", "end", short_number(tick, number, sizeof number));
    }
    for (double tick = x_axis->low; tick <= x_axis->high * 1.001;) {
        double place = place_x(graph, x_axis, tick);
        svg_line(file, place, y_axis->from, place, y_axis->from + 4, "grid");
        svg_text(file, place, y_axis->from + 17, "tick", "middle", short_number(tick, number, sizeof number));
        tick = !graph->x_is_log ? tick + 10 : x_axis->high / x_axis->low > 50 ? tick * 10 : tick * 2;
    }
    svg_text(file, (x_axis->from + x_axis->to) / 2, y_axis->from + 33, "note", "middle", graph->x_unit);
    svg_text(file, x_axis->from - 40, y_axis->to - 26, "panel", "start", graph->title);
    svg_text(file, x_axis->from - 40, y_axis->to - 11, "note", "start", graph->y_unit);
}

/* Draws into the box. */
static void draw_graph(FILE *file, struct graph *graph, double x, double y, double width, double height)
{
    double least[2] = {HUGE_VAL, HUGE_VAL}, most[2] = {0, 0};
    qsort(graph->curves, (size_t)graph->curve_count, sizeof *graph->curves, by_last_value);
    find_extent(graph, least, most);
    struct axis x_axis = {least[0], most[0] > least[0] ? most[0] : least[0] + 1, x + 50, x + width - 90};
    struct axis y_axis = axis_around(least[1], most[1], y + height - 40, y + 40);
    draw_grid(file, graph, &x_axis, &y_axis);
    for (int i = graph->curve_count - 1; i >= 0; i--) {
        const struct curve *curve = &graph->curves[i];
        double xs[CURVE_MAX], ys[CURVE_MAX];
        for (int j = 0; j < curve->count; j++) {
            xs[j] = place_x(graph, &x_axis, curve->x[j]);
            ys[j] = place_on(&y_axis, curve->y[j]);
            if (graph->has_dots) svg_dot(file, xs[j], ys[j], curve->kind);
        }
        svg_path(file, xs, ys, curve->count, curve->kind);
    }
    draw_names(file, graph, &y_axis, x_axis.to + 8);
}

/* Over cases ====================================================================================================== */

static double record_count_of(const struct measured *measured)
{
    return measured->memory_limit || measured->record_size != 100 ? 0 : (double)measured->record_count;
}

static double limit_of(const struct measured *measured)
{
    return (double)(measured->memory_limit >> 20);
}

static int by_place(const void *left, const void *right)
{
    const struct measured *a = *(struct measured *const *)left, *b = *(struct measured *const *)right;
    double difference = a->memory_limit == b->memory_limit ? (double)a->record_count - (double)b->record_count
                                                           : (double)a->memory_limit - (double)b->memory_limit;
    return (difference > 0) - (difference < 0);
}

static void gather_cases(struct graph *graph, const struct report *report, const char *workload,
    double (*place)(const struct measured *))
{
    struct measured *cases[CASES_MAX];
    memcpy(cases, report->cases, sizeof cases);
    qsort(cases, (size_t)report->case_count, sizeof *cases, by_place);
    for (int i = 0; i < report->case_count; i++) {
        const struct measured *measured = cases[i];
        double x = place(measured);
        for (int engine = 0; x > 0 && engine < measured->engine_count; engine++) {
            double y = value_at(measured, find_workload(measured, workload), engine) * 1e3;
            add_point(graph, &measured->engines[engine], x, y);
        }
    }
}

static bool has_curve(const struct graph *graph)
{
    for (int i = 0; i < graph->curve_count; i++) {
        if (graph->curves[i].count > 1) return true;
    }
    return false;
}

static struct graph *make_graph(const char *title, const char *x_unit, const char *y_unit)
{
    struct graph *graph = allocate(sizeof *graph);
    *graph = (struct graph){.title = title, .x_unit = x_unit, .y_unit = y_unit, .x_is_log = true, .has_dots = true};
    return graph;
}

/* Two graphs side by side. */
static bool plot_two(const char *folder, const char *name, const char *title, struct graph *left, struct graph *right)
{
    bool is_there = has_curve(left);
    if (is_there) {
        FILE *file = svg_begin(folder, name, 900, 440, title,
            "DiamondDB is the thick blue line, what the machine can do is dashed. Scales in powers of ten.");
        draw_graph(file, left, 20, 70, 430, 360);
        if (has_curve(right)) draw_graph(file, right, 460, 70, 430, 360);
        svg_end(file);
    }
    free(left);
    free(right);
    return is_there;
}

/* Reads and overwrites over what the cases differ in. */
static bool plot_cases(const struct report *report, const char *folder, const char *name, const char *title,
    const char *unit, double (*place)(const struct measured *))
{
    struct graph *left = make_graph("Random reads, one thread", unit, "a second");
    struct graph *right = make_graph("Overwrites, one a commit, not synced", unit, "a second");
    gather_cases(left, report, "read, 1 thread", place);
    gather_cases(right, report, "overwrite, async", place);
    return plot_two(folder, name, title, left, right);
}

bool plot_sizes(const struct report *report, const char *folder)
{
    return plot_cases(report, folder, "sizes", "As the table grows", "records of 100 bytes", record_count_of);
}

bool plot_limits(const struct report *report, const char *folder)
{
    return plot_cases(report, folder, "limits", "Where memory is less than the table", "MiB of memory", limit_of);
}

/* A long run ====================================================================================================== */

bool plot_sustained(const struct report *report, const char *folder)
{
    struct graph *left = make_graph("Worst stop of each second", "seconds", "milliseconds");
    struct graph *right = make_graph("Overwrites", "seconds", "a second");
    left->x_is_log = right->x_is_log = left->has_dots = right->has_dots = false;
    for (int i = 0; i < report->case_count; i++) {
        for (int engine = 0; engine < report->cases[i]->engine_count; engine++) {
            const struct engine_facts *facts = &report->cases[i]->engines[engine];
            for (int second = 0; second < facts->timeline.second_count; second++) {
                add_point(left, facts, second, facts->timeline.worst_ms[second]);
                add_point(right, facts, second, facts->timeline.rates[second]);
            }
        }
    }
    return plot_two(folder, "sustained", "Random overwrites at full speed, 10 M records, not synced", left, right);
}
