-- Rows of the provider that could not be listed, parsed or stored.
SELECT 1;
