/* The links between chips: what they carried, whether something passes now, how long it takes.
 *
 * A transfer takes every link of its path at once, and each link one transfer after another. Where
 * the machine is paced, a link is taken for the bytes over its rate, and the transfer ends when the
 * last of its links has carried it, plus the latencies of all. Where it is not, it takes what the
 * host needed, stretched by what slows it.
 *
 * Lost packets are found again and again at the same places: after so many bytes of a link one is
 * due. A lost packet is sent again, and always arrives then. That costs its bytes on the link once
 * more and, where the machine is paced, a round trip of the path in which nothing else arrives: a
 * receiver that keeps order waits for it.
 */
#include "chip.h"
#include "cordee_work.h"

enum { PACKET_BYTES = 4096, MILLION = 1000000 };

static const double ns_per_s = 1e9;

typedef struct path {
    machine_link *links[MACHINE_HOPS];
    int count; /* 0: not modelled */
} path;

static path path_between(machine *m, int from_chip, int to_chip)
{
    path p = {.count = 0};

    if (!m || from_chip < 0 || to_chip < 0 || (uint32_t)from_chip >= m->chip_count ||
        (uint32_t)to_chip >= m->chip_count)
        return p;
    for (int hop = 0; hop < MACHINE_HOPS; hop++) {
        uint16_t number = m->paths[from_chip][to_chip][hop];

        if (number == 0 || number > m->link_count)
            break;
        p.links[p.count++] = &m->links[number - 1];
    }
    return p;
}

static bool is_up(const machine_link *l, uint64_t now)
{
    uint64_t up_ns = (uint64_t)atomic_load(&l->flap_up_ms) * MILLION;
    uint64_t down_ns = (uint64_t)atomic_load(&l->flap_down_ms) * MILLION;
    uint64_t since = atomic_load(&l->flap_since_ns);

    if (atomic_load(&l->down))
        return false;
    if (up_ns + down_ns == 0 || now < since)
        return true;
    return (now - since) % (up_ns + down_ns) < up_ns;
}

CORDEE_API int cordee_link_is_up(int from_chip, int to_chip)
{
    path p = path_between(machine_of_process(), from_chip, to_chip);
    uint64_t now = clock_ns();

    for (int hop = 0; hop < p.count; hop++)
        if (!is_up(p.links[hop], now))
            return 0;
    return 1;
}

/* Of the first so many bytes of a link. */
static uint64_t packets_lost(uint64_t bytes, uint32_t per_million)
{
    return (uint64_t)((unsigned __int128)bytes * per_million / ((uint64_t)PACKET_BYTES * MILLION));
}

/* Account for a transfer; the packets that were lost of it. */
static uint64_t carry(machine_link *l, uint64_t bytes)
{
    uint32_t loss = atomic_load(&l->loss_per_million);
    uint64_t before = atomic_fetch_add(&l->bytes, bytes);
    uint64_t lost = packets_lost(before + bytes, loss) - packets_lost(before, loss);

    atomic_fetch_add(&l->transfers, 1);
    if (lost)
        atomic_fetch_add(&l->errors, lost);
    return lost;
}

static double slowness(const machine_link *l)
{
    uint32_t percent = atomic_load(&l->slow_percent);

    return percent ? percent / 100.0 : 1;
}

/* The link's time from `start` on, or from when it is free; the end of it. */
static uint64_t reserve(machine_link *l, uint64_t start, uint64_t duration)
{
    uint64_t busy = atomic_load(&l->busy_until_ns), end;

    do
        end = (busy > start ? busy : start) + duration;
    while (!atomic_compare_exchange_weak(&l->busy_until_ns, &busy, end));
    return end;
}

static uint64_t paced_wait(const path *p, double pace, uint64_t bytes, uint64_t took_ns)
{
    uint64_t now = clock_ns(), start = now > took_ns ? now - took_ns : 0, end = start, lost = 0;
    double latency_s = 0;

    for (int hop = 0; hop < p->count; hop++) {
        machine_link *l = p->links[hop];
        uint64_t again = carry(l, bytes);
        double slow = slowness(l), all = (double)bytes + (double)again * PACKET_BYTES;
        uint64_t until = start;

        if (l->bytes_per_s > 0)
            until = reserve(l, start, (uint64_t)(pace * slow * all / l->bytes_per_s * ns_per_s));
        end = until > end ? until : end;
        latency_s += slow * l->latency_s;
        lost += again;
    }
    end += (uint64_t)(pace * latency_s * (double)(1 + 2 * lost) * ns_per_s);
    return end > now ? end - now : 0;
}

static uint64_t stretched_wait(const path *p, uint64_t bytes, uint64_t took_ns)
{
    double stretch = 1;

    for (int hop = 0; hop < p->count; hop++) {
        uint64_t again = carry(p->links[hop], bytes) * PACKET_BYTES;
        double slow = slowness(p->links[hop]);

        if (bytes)
            slow *= 1 + (double)again / (double)bytes;
        stretch = slow > stretch ? slow : stretch;
    }
    return (uint64_t)((double)took_ns * (stretch - 1));
}

CORDEE_API uint64_t cordee_link_pass(int from_chip, int to_chip, uint64_t bytes, uint64_t took_ns)
{
    machine *m = machine_of_process();
    path p = path_between(m, from_chip, to_chip);

    if (p.count == 0)
        return 0;
    return m->pace > 0 ? paced_wait(&p, m->pace, bytes, took_ns)
                       : stretched_wait(&p, bytes, took_ns);
}
