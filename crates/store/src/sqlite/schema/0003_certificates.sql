-- Devices that prove themselves with a certificate instead of a secret.
--
-- auth:        'secret' or 'x509'. Devices from before have secrets.
-- fingerprint: of the certificate, 64 (SHA-256) or 40 (SHA-1) lower-case hex digits; NULL for a device with a
--              secret, and for one whose certificate is judged by who issued it.
ALTER TABLE device ADD COLUMN auth TEXT NOT NULL DEFAULT 'secret';
ALTER TABLE device ADD COLUMN fingerprint TEXT;
