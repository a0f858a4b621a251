/* A limit of memory for one turn: all that its process and the files that it reads may take. */
#ifndef LIMIT_H
#define LIMIT_H

#include <stdint.h>

/* Puts this process under the limit, after the files in the folder were dropped from memory. Needs root. */
void enter_limit(const char *folder, uint64_t bytes);

/* Takes the limit away again, once the process has ended. */
void leave_limit(void);

#endif
