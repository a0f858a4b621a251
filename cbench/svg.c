/*
 * Pictures as SVG. Their style follows what the reader's screen prefers, light or dark; where it says nothing, light.
 */
#include "svg.h"

#include <math.h>
#include <sys/stat.h>

#include "bench.h"

/* For what has no class of its own; each is read on both grounds. */
static const char *const hues[HUE_COUNT] = {
    "#c9820a", "#d1495b", "#8a63d2", "#2e9e5b", "#d96c2c", "#1a9aa0", "#c7609f", "#8a8a1f", "#7f6a5a",
};

static const char style[] =
    "<style>\n"
    "text { font: 12px system-ui, sans-serif; fill: #1f2328; }\n"
    ".title { font-size: 17px; font-weight: 600; }\n"
    ".panel { font-size: 13px; font-weight: 600; }\n"
    ".note, .tick { font-size: 11px; fill: #59636e; }\n"
    ".back { fill: #ffffff; }\n"
    ".grid { stroke: #d1d9e0; stroke-width: 1; }\n"
    "rect.ours, circle.ours, text.ours { fill: #0969da; } text.ours { font-weight: 600; }\n"
    "rect.limit, circle.limit { fill: #afb8c1; } text.limit { fill: #59636e; }\n"
    "rect.peer { fill: #d4a72c; }\n"
    "polyline { fill: none; stroke-width: 1.75; stroke-linejoin: round; }\n"
    "polyline.ours { stroke: #0969da; stroke-width: 3; }\n"
    "polyline.limit { stroke: #8c959f; stroke-dasharray: 5 4; }\n"
    "@media (prefers-color-scheme: dark) {\n"
    "text { fill: #e6edf3; } .note, .tick, text.limit { fill: #9198a1; } .back { fill: #0d1117; }\n"
    ".grid { stroke: #2f353d; } rect.limit { fill: #656c76; }\n"
    "rect.ours, circle.ours, text.ours { fill: #4493f8; } polyline.ours { stroke: #4493f8; }\n"
    "}\n"
    "</style>\n";

static void write_hues(FILE *file)
{
    fprintf(file, "<style>\n");
    for (int i = 0; i < HUE_COUNT; i++) {
        fprintf(file, "circle.hue%d, text.hue%d { fill: %s; } polyline.hue%d { stroke: %s; }\n", i, i, hues[i], i,
            hues[i]);
    }
    fprintf(file, "</style>\n");
}

FILE *svg_begin(const char *folder, const char *name, double width, double height, const char *title, const char *note)
{
    char path[4200];
    mkdir(folder, 0777);
    snprintf(path, sizeof path, "%s/%s.svg", folder, name);
    FILE *file = fopen(path, "w");
    if (!file) fail("%s cannot be written", path);
    fprintf(file, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" width=\"%g\" height=\"%g\">\n",
        width, height, width, height);
    fprintf(file, "<title>%s</title>\n%s", title, style);
    write_hues(file);
    svg_box(file, 0, 0, width, height, "back");
    svg_text(file, 20, 30, "title", "start", title);
    svg_text(file, 20, 47, "note", "start", note);
    return file;
}

void svg_end(FILE *file)
{
    fprintf(file, "</svg>\n");
    if (fclose(file) != 0) fail("a plot could not be written");
}

void svg_text(FILE *file, double x, double y, const char *kind, const char *anchor, const char *text)
{
    fprintf(file, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\" text-anchor=\"%s\">%s</text>\n", x, y, kind, anchor, text);
}

void svg_line(FILE *file, double x1, double y1, double x2, double y2, const char *kind)
{
    fprintf(file, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n", x1, y1, x2, y2, kind);
}

void svg_box(FILE *file, double x, double y, double width, double height, const char *kind)
{
    fprintf(file, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" class=\"%s\"/>\n", x, y, width, height,
        kind);
}

void svg_dot(FILE *file, double x, double y, const char *kind)
{
    fprintf(file, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" class=\"%s\"/>\n", x, y, kind);
}

void svg_path(FILE *file, const double *x, const double *y, int count, const char *kind)
{
    fprintf(file, "<polyline class=\"%s\" points=\"", kind);
    for (int i = 0; i < count; i++) fprintf(file, "%.1f,%.1f ", x[i], y[i]);
    fprintf(file, "\"/>\n");
}

struct axis axis_around(double least, double most, double from, double to)
{
    struct axis axis = {pow(10, floor(log10(least))), pow(10, ceil(log10(most))), from, to};
    if (axis.low * 4 < least) axis.low *= 3;
    if (axis.high > most * 4) axis.high /= 3;
    if (axis.high <= axis.low) axis.high = axis.low * 10;
    return axis;
}

double place_on(const struct axis *axis, double value)
{
    if (value < axis->low) value = axis->low;
    double part = log10(value / axis->low) / log10(axis->high / axis->low);
    return axis->from + (axis->to - axis->from) * part;
}

const char *short_number(double value, char *room, size_t size)
{
    const char *unit = value >= 0.9995e6 ? " M" : value >= 999.5 ? " k" : "";
    double scaled = value >= 0.9995e6 ? value / 1e6 : value >= 999.5 ? value / 1e3 : value;
    snprintf(room, size, scaled >= 100 ? "%.0f%s" : scaled >= 10 ? "%.3g%s" : "%.2g%s", scaled, unit);
    return room;
}
