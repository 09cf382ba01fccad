-- Secret-looking configuration and the check of the secret key.
SELECT 1;
