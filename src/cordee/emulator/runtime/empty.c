/* Libraries that torch_npu is linked with but calls nothing of. */
int cordee_nothing_is_emulated_here;
