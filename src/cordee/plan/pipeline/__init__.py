"""How the stages of a pipeline take turns: schedules, what they lose, and their passes one by one."""
