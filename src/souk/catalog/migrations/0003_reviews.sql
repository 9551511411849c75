-- Up to which version a product shows what its reviews told; 0: never, and an imported rating stands.
ALTER TABLE catalog.product ADD COLUMN reviews_version bigint NOT NULL DEFAULT 0;
