"""Tune schedules on a device with MetaSchedule: tasks, candidates, measuring, records."""
