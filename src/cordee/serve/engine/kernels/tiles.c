/* y = x W^T on the matrix unit of x86 (AMX), which multiplies tiles of 16 rows of 64 bytes.
 *
 * Weights are the left side, as they lie. Activations are the right side, cut into parts that the unit
 * takes: a float into two of bfloat16, which together hold 17 of its 24 bits, a whole number into two of
 * eight bits.
 * Each part of each row is a column of its own, so that no sum depends on what other columns hold. What
 * the unit does with bfloat16, rounding and order included, is laid down: Intel 64 and IA-32 Architectures
 * Software Developer's Manual, volume 2, TDPBF16PS. So all that have it give the same bits.
 */
#include "weights.h"

#ifdef __AMX_INT8__
#include <omp.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TILE_BYTES 1024
#define SIDE 16       /* outputs or columns of a tile */
#define PART 64       /* outputs that one thread takes at a time */
#define BLOCK_ROWS 64 /* rows whose columns are worked on together */
#define FEW_TILES 4   /* of columns; for more, weights from a file are copied to where lines begin */
#define SLICE 8       /* blocks of inputs whose tiles stay in the first-level cache */
#define PARTS 4       /* parts that a thread takes one after another, if there are enough for all */

typedef double f64x8 __attribute__((vector_size(64)));
typedef uint64_t u64x4 __attribute__((vector_size(32)));
typedef uint32_t u32x4 __attribute__((vector_size(16)));

/* The right side: tiles of columns, each with its blocks of inputs one after another. */
struct right {
    char *data;
    int64_t rows, tiles, blocks, tile_inputs, parts;
};

/* Four tiles of weights, and how to go on in each. */
struct left {
    const char *data[4];
    int64_t step, stride;
};

static void begin(void)
{
    struct {
        uint8_t palette, start, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } shape = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        shape.bytes[i] = 64;
        shape.rows[i] = SIDE;
    }
    _tile_loadconfig(&shape);
}

/* To the nearest float whose lower half is zeros, of two the even one. */
INLINE v8 to_bfloat16(v8 value)
{
    u8x32 bits = (u8x32)value;
    return (v8)((bits + 0x7fffu + (bits >> 16 & 1)) & 0xffff0000u);
}

/* Column `lane` of a tile of columns: a row of floats in bfloat16, or what this leaves. */
INLINE void put_floats(char *to, int lane, const float *x, int64_t inputs, int part)
{
    for (int64_t k = 0; k < inputs; k += LANES) {
        v8 value = load(x + k);
        if (part)
            value -= to_bfloat16(value);
        u64x4 two = (u64x4)to_bfloat16(value);
        u32x4 pairs = __builtin_convertvector((two >> 16 & 0xffff) | (two >> 32 & 0xffff0000u), u32x4);
        for (int i = 0; i < 4; i++)
            memcpy(to + (k / 2 + i) * 64 + lane * 4, (const char *)&pairs + i * 4, 4);
    }
}

/* The same with whole numbers: their upper eight bits, rounded, or what these leave. */
INLINE void put_numbers(char *to, int lane, const int16_t *x, int64_t inputs, int part)
{
    for (int64_t k = 0; k < inputs; k += LANES) {
        s16x8 value, high;
        memcpy(&value, x + k, sizeof value);
        high = (value + 128) >> 8;
        s8x8 bytes = __builtin_convertvector(part ? value - (high << 8) : high, s8x8);
        memcpy(to + k * 16 + lane * 4, &bytes, 4);
        memcpy(to + k * 16 + 64 + lane * 4, (const char *)&bytes + 4, 4);
    }
}

static void put_tile(const struct linear *l, struct whole numbers, int64_t row, struct right right,
                     int64_t tile)
{
    char *to = right.data + tile * right.blocks * TILE_BYTES;
    int64_t columns = right.rows * right.parts, inputs = l->weights->inputs;
    if ((tile + 1) * SIDE > columns || inputs % right.tile_inputs)
        memset(to, 0, (size_t)(right.blocks * TILE_BYTES));
    for (int lane = 0; lane < SIDE && tile * SIDE + lane < columns; lane++) {
        int64_t part = (tile * SIDE + lane) / right.rows, r = row + (tile * SIDE + lane) % right.rows;
        const float *x = l->x + r * l->x_stride;
        if (numbers.numbers)
            put_numbers(to, lane, numbers.numbers + r * numbers.stride, numbers.stride, (int)part);
        else if (part == 0)
            put_floats(to, lane, x, inputs, 0);
        else
            put_floats(to, lane, x, inputs, 1);
    }
}

/* A tile of weights in bfloat16 copied, with zeros beyond the last output and the last input. */
static void copy_left(const struct weights *w, int64_t first, int64_t blocks, char *to)
{
    int64_t bytes = w->inputs * 2;
    for (int64_t o = 0; o < SIDE; o++) {
        const char *from = (const char *)w->data + (first + o) * bytes;
        for (int64_t b = 0; b < blocks; b++) {
            char *line = to + b * TILE_BYTES + o * 64;
            int64_t left = first + o < w->outputs ? bytes - b * 64 : 0;
            if (left >= 64)
                memcpy(line, from + b * 64, 64);
            else {
                memset(line, 0, 64);
                memcpy(line, from + b * 64, (size_t)left);
            }
        }
    }
}

#define MULTIPLY(ACC, LEFT, RIGHT)                                                                 \
    if (kind == INT8)                                                                              \
        _tile_dpbssd(ACC, LEFT, RIGHT);                                                            \
    else                                                                                           \
        _tile_dpbf16ps(ACC, LEFT, RIGHT)

#define FOUR(DO, SUMS, DOWN, RIGHT)                                                                \
    DO(0, SUMS, columns * 4);                                                                      \
    DO(1, SUMS + (RIGHT), columns * 4);                                                            \
    DO(2, SUMS + (DOWN), columns * 4);                                                             \
    DO(3, SUMS + (DOWN) + (RIGHT), columns * 4)

/* 64 outputs, 16 columns. `sums`: [outputs, columns]. */
INLINE void tall(int kind, struct left a, const char *b, int64_t blocks, float *sums, int64_t columns)
{
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t k = 0; k < blocks; k++) {
        _tile_loadd(4, b + k * TILE_BYTES, 64);
        _tile_loadd(5, a.data[0] + k * a.step, a.stride);
        MULTIPLY(0, 5, 4);
        _tile_loadd(6, a.data[1] + k * a.step, a.stride);
        MULTIPLY(1, 6, 4);
        _tile_loadd(5, a.data[2] + k * a.step, a.stride);
        MULTIPLY(2, 5, 4);
        _tile_loadd(6, a.data[3] + k * a.step, a.stride);
        MULTIPLY(3, 6, 4);
    }
    FOUR(_tile_stored, sums, 2 * SIDE * columns, SIDE * columns);
}

/* 32 outputs, the first or the last of `a`, and 32 columns: sums over the blocks of inputs [first, last). */
INLINE void square(int kind, struct left a, int at, const char *b, const char *next, int64_t first,
                   int64_t last, float *sums, int64_t columns)
{
    const char *upper = a.data[at], *lower = a.data[at + 1];
    if (first) {
        FOUR(_tile_loadd, sums, SIDE * columns, SIDE);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int64_t k = first; k < last; k++) {
        _tile_loadd(4, upper + k * a.step, a.stride);
        _tile_loadd(6, b + k * TILE_BYTES, 64);
        MULTIPLY(0, 4, 6);
        _tile_loadd(7, next + k * TILE_BYTES, 64);
        MULTIPLY(1, 4, 7);
        _tile_loadd(5, lower + k * a.step, a.stride);
        MULTIPLY(2, 5, 6);
        MULTIPLY(3, 5, 7);
    }
    FOUR(_tile_stored, sums, SIDE * columns, SIDE);
}

INLINE void products(int kind, struct left a, int64_t outputs, struct right right, float *sums)
{
    int64_t columns = right.tiles * SIDE, tile_bytes = right.blocks * TILE_BYTES;
    int64_t even = right.tiles / 2 * 2, slice = right.tiles > 2 ? SLICE : right.blocks;
    for (int64_t first = 0; even && first < right.blocks; first += slice) {
        int64_t last = first + slice < right.blocks ? first + slice : right.blocks;
        for (int at = 0; at * SIDE < outputs; at += 2)
            for (int64_t j = 0; j < even; j += 2) {
                const char *b = right.data + j * tile_bytes;
                square(kind, a, at, b, b + tile_bytes, first, last,
                       sums + at * SIDE * columns + j * SIDE, columns);
            }
    }
    if (even < right.tiles)
        tall(kind, a, right.data + even * tile_bytes, right.blocks, sums + even * SIDE, columns);
}

/* One output of eight rows, its parts put together. */
INLINE v8 together(const struct right *right, const struct weights *w, int64_t output, const float *sums,
                   const float *scales)
{
    if (w->kind == BFLOAT16)
        return load(sums + right->rows) + load(sums);
    i8x32 high = (i8x32)load(sums), low = (i8x32)load(sums + right->rows);
    f64x8 exact = __builtin_convertvector(high, f64x8) * 256.0 + __builtin_convertvector(low, f64x8);
    return __builtin_convertvector(exact, v8) * splat(w->scales[output]) * load(scales);
}

#define SWAPPED(A, B, MASK_A, MASK_B)                                                              \
    {                                                                                              \
        v8 a = x[A], b = x[B];                                                                     \
        x[A] = __builtin_shuffle(a, b, (i8x32)MASK_A);                                             \
        x[B] = __builtin_shuffle(a, b, (i8x32)MASK_B);                                             \
    }
#define GROUP(...) {__VA_ARGS__}

/* Rows of 8 x 8 floats to columns. */
INLINE void transpose(v8 x[LANES])
{
#pragma GCC unroll 8
    for (int i = 0; i < LANES; i += 2)
        SWAPPED(i, i + 1, GROUP(0, 8, 2, 10, 4, 12, 6, 14), GROUP(1, 9, 3, 11, 5, 13, 7, 15))
#pragma GCC unroll 8
    for (int i = 0; i < LANES; i += i % 2 ? 3 : 1)
        SWAPPED(i, i + 2, GROUP(0, 1, 8, 9, 4, 5, 12, 13), GROUP(2, 3, 10, 11, 6, 7, 14, 15))
#pragma GCC unroll 8
    for (int i = 0; i < LANES / 2; i++)
        SWAPPED(i, i + 4, GROUP(0, 1, 2, 3, 8, 9, 10, 11), GROUP(4, 5, 6, 7, 12, 13, 14, 15))
}

/* Columns of sums to rows of y, 8 x 8 at a time. `outputs` is 8 but at the end of a layer. */
INLINE void write_square(const struct linear *l, struct part p, int64_t row, int64_t rows, int64_t outputs,
                         v8 made[LANES])
{
    float offsets[LANES] = {0};
    if (p.w->bias)
        memcpy(offsets, p.w->bias + p.first, (size_t)outputs * 4);
    transpose(made);
    for (int64_t n = 0; n < rows; n++) {
        float *to = l->y + (row + n) * l->y_stride + p.place + p.first;
        v8 value = p.w->bias ? made[n] + load(offsets) : made[n];
        if (outputs == LANES)
            store(to, l->add ? load(to) + value : value);
        for (int64_t i = 0; outputs < LANES && i < outputs; i++)
            to[i] = l->add ? to[i] + value[i] : value[i];
    }
}

/* Up to eight outputs of all rows. */
INLINE void write_outputs(const struct linear *l, struct part p, int64_t row, int64_t outputs,
                          const struct right *right, const float *sums, const float *scales)
{
    int64_t columns = right->tiles * SIDE;
    for (int64_t r = 0; r < right->rows; r += LANES) {
        v8 made[LANES] = {{0}};
#pragma GCC unroll 8
        for (int64_t i = 0; i < LANES; i++)
            if (i < outputs)
                made[i] = together(right, p.w, p.first + i, sums + i * columns + r,
                                   scales ? scales + row + r : NULL);
        if (right->rows - r >= LANES)
            write_square(l, p, row + r, LANES, outputs, made);
        else
            write_square(l, p, row + r, right->rows - r, outputs, made);
    }
}

static void write_part(const struct linear *l, struct part p, int64_t row, const struct right *right,
                       const float *sums, const float *scales)
{
    for (; p.first + LANES <= p.last; p.first += LANES, sums += LANES * right->tiles * SIDE)
        write_outputs(l, p, row, LANES, right, sums, scales);
    if (p.first < p.last)
        write_outputs(l, p, row, p.last - p.first, right, sums, scales);
}

/* Where the weights of a part lie: as they came, or copied to `panel`. */
static struct left left_of(struct part p, struct right right, char *panel)
{
    struct left a = {.step = TILE_BYTES, .stride = 64};
    int64_t bytes = p.w->inputs * 2;
    int direct = right.tiles <= FEW_TILES && bytes % 64 == 0 && p.last - p.first == PART;
    for (int64_t i = 0; i < 4; i++) {
        int64_t first = p.first + i * SIDE;
        a.data[i] = panel + i * right.blocks * TILE_BYTES;
        if (p.w->kind == INT8)
            a.data[i] = (const char *)integers_at(p.w, first, 0);
        else if (direct)
            a.data[i] = (const char *)p.w->data + first * bytes;
        else
            copy_left(p.w, first < p.last ? first : p.w->outputs, right.blocks, panel + i * right.blocks * TILE_BYTES);
    }
    if (direct && p.w->kind != INT8)
        a.step = 64, a.stride = bytes;
    return a;
}

static void one_part(const struct linear *l, struct part p, int64_t row, struct right right, struct left a,
                     const float *scales, float *sums)
{
    if (p.w->kind == INT8)
        products(INT8, a, p.last - p.first, right, sums);
    else
        products(BFLOAT16, a, p.last - p.first, right, sums);
    write_part(l, p, row, &right, sums, scales);
}

/* The columns of one block of rows. */
static struct right right_of(const struct linear *l, struct right all, int64_t row)
{
    all.rows = l->rows - row < BLOCK_ROWS ? l->rows - row : BLOCK_ROWS;
    all.data += row * all.parts / SIDE * all.blocks * TILE_BYTES;
    all.tiles = (all.rows * all.parts + SIDE - 1) / SIDE;
    return all;
}

void tile_linear(const struct linear *l)
{
    int int8 = l->weights->kind == INT8;
    struct right all = {aligned(l->scratch), .tile_inputs = int8 ? 64 : 32, .parts = 2};
    struct whole numbers = {0};
    if (int8) {
        numbers = whole_numbers(l);
        all.data = aligned(numbers.scales + l->rows + LANES);
    }
    all.blocks = (l->weights->inputs + all.tile_inputs - 1) / all.tile_inputs;
    int64_t tiles = (l->rows * all.parts + SIDE - 1) / SIDE, each = BLOCK_ROWS * all.parts / SIDE;
#pragma omp for schedule(static)
    for (int64_t tile = 0; tile < tiles; tile++) {
        int64_t row = tile / each * BLOCK_ROWS;
        put_tile(l, numbers, row, right_of(l, all, row), tile % each);
    }
    static _Thread_local struct room panels, all_sums;
    int64_t panel_bytes = 4 * all.blocks * TILE_BYTES;
    char *panel = room_of(&panels, PARTS * panel_bytes);
    float *sums = room_of(&all_sums, PART * (BLOCK_ROWS * 2 + SIDE) * 4);
    int64_t parts = parts_of(l, PART), group = l->rows > BLOCK_ROWS && parts >= 2 * PARTS * omp_get_num_threads() ? PARTS : 1;
    begin();
#pragma omp for schedule(dynamic, 1)
    for (int64_t first = 0; first < parts; first += group) {
        struct left lefts[PARTS];
        int64_t count = parts - first < group ? parts - first : group;
        for (int64_t i = 0; i < count; i++)
            lefts[i] = left_of(part_of(l, first + i, PART), right_of(l, all, 0), panel + i * panel_bytes);
        for (int64_t row = 0; row < l->rows; row += BLOCK_ROWS)
            for (int64_t i = 0; i < count; i++)
                one_part(l, part_of(l, first + i, PART), row, right_of(l, all, row), lefts[i], numbers.scales, sums);
    }
    _tile_release();
}

/* Whether there is a matrix unit and the kernel lets this process use it: documentation of Linux,
 * arch/x86/xstate, "Using dynamically enabled XSTATE features in user space applications". */
int32_t cordee_has_tiles(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

#else

int32_t cordee_has_tiles(void)
{
    return 0;
}

void tile_linear(const struct linear *l)
{
    (void)l;
}

#endif
