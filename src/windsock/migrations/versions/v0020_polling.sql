-- What the choice of the polling mode needs.
SELECT 1;
