// JSON, as far as rank tables need it.
#ifndef CORDEE_HCCL_JSON_H
#define CORDEE_HCCL_JSON_H

#include <string>
#include <utility>
#include <vector>

namespace hccl {

struct Json {
    enum class Kind { kNull, kText, kList, kTable } kind = Kind::kNull;
    std::string text; // of strings, numbers, true and false
    std::vector<Json> items;
    std::vector<std::pair<std::string, Json>> fields;

    // The field's value; null where there is none.
    const Json &operator[](const char *name) const;
};

// False where the text is not JSON.
bool json_read(const std::string &text, Json *made);

} // namespace hccl

#endif
