/* Start and end of the runtime in a process, and the versions it says it has.
 *
 * Follows: CANN "Runtime API", chapters Initialization and Version.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chip.h"
#include "device.h"

/* The newest pair in COMPATIBILITY.md of github.com/Ascend/pytorch is CANN 9.1.0; its driver line
 * is 26.1. The adapter switches features on and off by these strings. */
#define CANN_VERSION "9.1.0"
#define DRIVER_VERSION "26.1.0"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t watching = PTHREAD_ONCE_INIT;
static uint64_t references;

/* Reads "default_device": "N" of an aclInit configuration file; -1: it has none. */
static int32_t default_device_in(const char *path)
{
    char text[4096];
    FILE *file = path ? fopen(path, "re") : NULL;
    size_t got = file ? fread(text, 1, sizeof text - 1, file) : 0;
    const char *found;

    if (file)
        fclose(file);
    text[got] = '\0';
    found = strstr(text, "\"default_device\"");
    found = found ? strpbrk(found + strlen("\"default_device\""), "0123456789}") : NULL;
    return found && *found != '}' ? atoi(found) : -1;
}

aclError aclInit(const char *path)
{
    aclError code = machine_state();
    bool first;

    if (code != ACL_SUCCESS)
        return code;
    if (!space_ready())
        return chip_fail(ACL_ERROR_RT_MEMORY_ALLOCATION, "aclInit: no address space");
    pthread_mutex_lock(&lock);
    first = references++ == 0;
    pthread_mutex_unlock(&lock);
    if (!first)
        return ACL_ERROR_REPEAT_INITIALIZE;
    context_set_default(default_device_in(path));
    pthread_once(&watching, pointer_watch);
    return ACL_SUCCESS;
}

aclError aclFinalizeReference(uint64_t *left)
{
    pthread_mutex_lock(&lock);
    if (references > 0)
        references--;
    if (left)
        *left = references;
    pthread_mutex_unlock(&lock);
    return ACL_SUCCESS;
}

aclError aclFinalize(void)
{
    pthread_mutex_lock(&lock);
    references = 0;
    pthread_mutex_unlock(&lock);
    return ACL_SUCCESS;
}

static void split_version(const char *version, aclCANNPackageVersion *out)
{
    memset(out, 0, sizeof *out);
    snprintf(out->version, sizeof out->version, "%s", version);
    sscanf(version, "%63[^.].%63[^.].%63s", out->majorVersion, out->minorVersion,
           out->releaseVersion);
}

aclError aclsysGetCANNVersion(aclCANNPackageName name, aclCANNPackageVersion *version)
{
    if (!version || (int)name < ACL_PKG_NAME_CANN || name > ACL_PKG_NAME_DRIVER)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclsysGetCANNVersion: package %d", (int)name);
    split_version(name == ACL_PKG_NAME_DRIVER ? DRIVER_VERSION : CANN_VERSION, version);
    return ACL_SUCCESS;
}

aclError aclsysGetVersionStr(char *package, char *version)
{
    if (!package || !version)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclsysGetVersionStr: NULL");
    snprintf(version, ACL_PKG_VERSION_MAX_SIZE, "%s",
             strcmp(package, "driver") == 0 ? DRIVER_VERSION : CANN_VERSION);
    return ACL_SUCCESS;
}

aclError aclrtGetVersion(int32_t *major, int32_t *minor, int32_t *patch)
{
    if (!major || !minor || !patch)
        return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "aclrtGetVersion: NULL");
    *major = ACL_MAJOR_VERSION;
    *minor = ACL_MINOR_VERSION;
    *patch = ACL_PATCH_VERSION;
    return ACL_SUCCESS;
}

aclError aclmdlInitDump(void)
{
    return chip_not_emulated("aclmdlInitDump (dumping operators)");
}

aclError aclmdlSetDump(const char *path)
{
    (void)path;
    return chip_not_emulated("aclmdlSetDump (dumping operators)");
}

aclError aclmdlFinalizeDump(void)
{
    return chip_not_emulated("aclmdlFinalizeDump (dumping operators)");
}
