/* Pictures as SVG: text, lines and boxes, in colours that are read on white and on black. */
#ifndef SVG_H
#define SVG_H

#include <stdio.h>

/* How something is drawn: by the classes of the style sheet that svg_begin writes: ours, limit, peer, hue0, hue1 ... */
#define HUE_COUNT 9

FILE *svg_begin(const char *folder, const char *name, double width, double height, const char *title,
    const char *note);
void svg_end(FILE *file);

/* `anchor` is start, middle or end. */
void svg_text(FILE *file, double x, double y, const char *kind, const char *anchor, const char *text);
void svg_line(FILE *file, double x1, double y1, double x2, double y2, const char *kind);
void svg_box(FILE *file, double x, double y, double width, double height, const char *kind);
void svg_dot(FILE *file, double x, double y, const char *kind);
void svg_path(FILE *file, const double *x, const double *y, int count, const char *kind);

/* An axis in powers of ten. */
struct axis {
    double low, high;
    /* Where these are in the picture. */
    double from, to;
};

/* Begins and ends at powers of ten (or at a half of one), around these values. */
struct axis axis_around(double least, double most, double from, double to);
double place_on(const struct axis *axis, double value);

/* 1 k, 10 k, 1 M. */
const char *short_number(double value, char *room, size_t size);

#endif
