"""Between text and tokens: vocabulary, chat template, stop strings, tools, grammars."""
