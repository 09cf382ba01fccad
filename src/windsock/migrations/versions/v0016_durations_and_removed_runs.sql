-- Negative durations are unknown; removed runs are left out of counts.
SELECT 1;
