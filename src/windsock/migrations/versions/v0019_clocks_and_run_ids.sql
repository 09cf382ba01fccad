-- The difference of clocks, and run ids that are used again.
SELECT 1;
