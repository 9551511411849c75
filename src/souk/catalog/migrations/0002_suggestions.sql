-- What names begin with, whatever their case and accents; in the order of bytes, so that a beginning is a range of the index.
CREATE INDEX product_name_beginning ON catalog.product ((lower(catalog.plain(name)) COLLATE "C"), id) WHERE status = 'published';
CREATE INDEX product_brand_beginning ON catalog.product ((lower(catalog.plain(brand)) COLLATE "C"), id)
    WHERE status = 'published' AND brand IS NOT NULL;
CREATE INDEX category_name_beginning ON catalog.category ((lower(catalog.plain(name)) COLLATE "C"), id);
