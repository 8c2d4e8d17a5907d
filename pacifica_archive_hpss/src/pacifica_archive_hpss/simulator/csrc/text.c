/*
 * A growing text: the answer of a command, as JSON.
 */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void grow(sim_text *text, size_t more)
{
    if (text->used + more + 1 <= text->size)
        return;
    size_t size = (text->used + more + 1) * 2 + 256;
    char *bytes = realloc(text->bytes, size);
    if (bytes == NULL)
        abort();
    text->bytes = bytes;
    text->size = size;
}

void sim_print(sim_text *text, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    int needed = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    grow(text, (size_t)needed);
    va_start(arguments, format);
    vsnprintf(text->bytes + text->used, (size_t)needed + 1, format, arguments);
    va_end(arguments);
    text->used += (size_t)needed;
}

/* Length of the UTF-8 character there; 0: it is none. */
static size_t character(const unsigned char *byte)
{
    size_t length = byte[0] >= 0xf0 && byte[0] < 0xf5 ? 4 : byte[0] >= 0xe0 && byte[0] < 0xf0 ? 3
                    : byte[0] >= 0xc2 && byte[0] < 0xe0 ? 2 : 0;

    for (size_t i = 1; i < length; i++)
        if ((byte[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

static size_t plain(const unsigned char *byte)
{
    size_t length = 0;

    while (byte[length] >= 0x20 && byte[length] < 0x7f && byte[length] != '"' &&
           byte[length] != '\\')
        length++;
    return length;
}

void sim_print_quoted(sim_text *text, const char *value)
{
    sim_print(text, "\"");
    for (const unsigned char *byte = (const unsigned char *)value; *byte != '\0'; byte++) {
        size_t length = plain(byte);

        sim_print(text, "%.*s", (int)length, (const char *)byte);
        byte += length;
        if (*byte == '\0')
            break;
        if (*byte == '"' || *byte == '\\')
            sim_print(text, "\\%c", *byte);
        else if (*byte < 0x20 || *byte == 0x7f)
            sim_print(text, "\\u%04x", *byte);
        else if ((length = character(byte)) > 0) {
            sim_print(text, "%.*s", (int)length, (const char *)byte);
            byte += length - 1;
        } else
            /* Not UTF-8: as Python's surrogateescape has it. */
            sim_print(text, "\\udc%02x", *byte);
    }
    sim_print(text, "\"");
}
