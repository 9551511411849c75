"""What the books of invoices keep at any moment, for the audit."""

from souk.kit.rules import Rule

FIND_GAPS = """
    SELECT coalesce(n.seller_id, c.seller_id) || ' ' || series || ' ' || year AS key,
           jsonb_build_object('counter', c.last, 'numbers', n.numbers, 'first', n.first, 'last', n.last) AS found
    FROM invoices.counter AS c
    FULL JOIN (
        SELECT seller_id, series, year, count(*) AS numbers, min(counter) AS first, max(counter) AS last
        FROM invoices.number GROUP BY seller_id, series, year
    ) AS n USING (seller_id, series, year)
    WHERE coalesce(c.last, -1) <> coalesce(n.numbers, 0) OR n.first <> 1 OR n.last <> n.numbers
"""
# Two documents with one number, a number without its document, a document without a number or under another one.
FIND_WRONG_NUMBERS = """
    SELECT coalesce(n.invoice_id, i.id) AS key,
           jsonb_build_object('number', i.number, 'series', n.series, 'year', n.year, 'counter', n.counter, 'kind', i.kind) AS found
    FROM invoices.number AS n
    FULL JOIN invoices.invoice AS i ON i.id = n.invoice_id
    WHERE i.id IS NULL OR n.invoice_id IS NULL OR (i.order_id, i.seller_id, i.kind) IS DISTINCT FROM (n.order_id, n.seller_id, n.series)
       OR i.number NOT LIKE '%' || CASE n.series WHEN 'credit_note' THEN 'CN-' ELSE '' END || n.year || '-'
                            || lpad(n.counter::text, greatest(6, length(n.counter::text)), '0')
"""
FIND_WRONG_SUMS = """
    SELECT i.id AS key, jsonb_build_object('total', i.total, 'lines', s.total, 'tax', i.tax, 'of_lines', s.tax,
                                           'rates', t.total, 'tax_of_rates', t.tax) AS found
    FROM invoices.invoice AS i,
        LATERAL (SELECT sum((one ->> 'total')::bigint) AS total, sum((one ->> 'tax')::bigint) AS tax
                 FROM jsonb_array_elements(i.content -> 'lines' || (i.content -> 'shipping')) AS one) AS s,
        LATERAL (SELECT coalesce(sum((one ->> 'net')::bigint + (one ->> 'tax')::bigint), 0) AS total,
                        coalesce(sum((one ->> 'tax')::bigint), 0) AS tax
                 FROM jsonb_array_elements(i.content -> 'taxes') AS one) AS t
    WHERE (i.total, i.tax, i.total, i.tax, i.total, i.tax) IS DISTINCT FROM
          (s.total, s.tax, t.total, t.tax, (i.content ->> 'total')::bigint, (i.content ->> 'tax')::bigint)
"""
FIND_WRONG_CREDITS = """
    SELECT coalesce(c.invoice_id, n.invoice_id) AS key,
           jsonb_build_object('invoice', i.total, 'credited', c.credited, 'notes', n.total, 'tax', c.credited_tax,
                              'tax_of_notes', n.tax) AS found
    FROM invoices.credit AS c
    FULL JOIN (
        SELECT order_id, invoice_id, sum(total) AS total, sum(tax) AS tax
        FROM invoices.invoice WHERE kind = 'credit_note' GROUP BY order_id, invoice_id
    ) AS n USING (order_id, invoice_id)
    LEFT JOIN invoices.invoice AS i ON i.order_id = coalesce(c.order_id, n.order_id) AND i.id = coalesce(c.invoice_id, n.invoice_id)
    WHERE (c.credited, c.credited_tax) IS DISTINCT FROM (n.total, n.tax) OR i.kind IS DISTINCT FROM 'invoice'
       OR (c.total, c.tax) IS DISTINCT FROM (i.total, i.tax) OR n.total > i.total OR n.tax > i.tax
"""

RULES = (
    Rule("I16.gaps", "The numbers of a seller's invoices and credit notes run from 1 through each year without a gap", FIND_GAPS),
    Rule("I16.numbers", "A document bears one number, which is no other document's", FIND_WRONG_NUMBERS),
    Rule("I16.sums", "The total and the tax of a document are those of its lines with shipping, and of its rates", FIND_WRONG_SUMS),
    Rule("I16.credits", "Never more is credited of an invoice than it is for, and as much as its credit notes say", FIND_WRONG_CREDITS),
)
