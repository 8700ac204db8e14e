/* Says what happened when a program follows a device pointer on the host.
 *
 * The process still dies of SIGSEGV, as on hardware; here it also learns why. Everything in the
 * handler is safe to call in one (signal-safety(7)).
 */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "chip.h"

static struct sigaction before;

static void say(const char *text)
{
    ssize_t written = write(STDERR_FILENO, text, strlen(text));

    (void)written; /* the process ends whether it can be heard or not */
}

static void say_address(uintptr_t address)
{
    char text[2 * sizeof address + 1] = {0};

    for (size_t i = 2 * sizeof address; i-- > 0; address >>= 4)
        text[i] = "0123456789abcdef"[address & 15];
    say("0x");
    say(text + strspn(text, "0"));
}

static void explain(int number, siginfo_t *info, void *context)
{
    (void)context;
    /* Returning follows the pointer again, and this time whoever was there before answers. */
    sigaction(number, &before, NULL);
    if (!space_holds(info->si_addr))
        return;
    say("cordee: the program followed the device address ");
    say_address((uintptr_t)info->si_addr);
    say(" on the host, which cannot read or write a chip's memory;"
        " copy it first, for example with tensor.cpu()\n");
}

void pointer_watch(void)
{
    struct sigaction action = {.sa_sigaction = explain, .sa_flags = SA_SIGINFO | SA_NODEFER};

    sigemptyset(&action.sa_mask);
    sigaction(SIGSEGV, &action, &before);
}
