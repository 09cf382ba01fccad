-- Limits and fair shares of spaces.
SELECT 1;
