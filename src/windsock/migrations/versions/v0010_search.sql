-- Words are looked for in rows of nothing else: the page of a pipeline's row holds two pipelines, that of its words fifty.

CREATE TABLE pipeline_search (
    space_id    uuid NOT NULL,
    pipeline_id uuid NOT NULL,
    search      text NOT NULL,
    CONSTRAINT pipeline_search_pkey PRIMARY KEY (space_id, pipeline_id),
    CONSTRAINT pipeline_search_pipeline FOREIGN KEY (space_id, pipeline_id) REFERENCES pipelines (space_id, id) ON DELETE CASCADE
);
COMMENT ON TABLE pipeline_search IS 'What q looks through. Kept by a trigger of pipelines, in a table of its own because their rows are wide.';
COMMENT ON COLUMN pipeline_search.search IS 'Name, id, description, owners and tags, in lower case.';
ALTER TABLE pipeline_search ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_space ON pipeline_search USING (space_id = (SELECT current_space()));

INSERT INTO pipeline_search (space_id, pipeline_id, search) SELECT space_id, id, search FROM pipelines ORDER BY space_id, id;
ALTER TABLE pipelines DROP COLUMN search;

CREATE FUNCTION keep_search() RETURNS trigger
LANGUAGE plpgsql SET search_path = windsock, pg_temp AS $$
BEGIN
    INSERT INTO pipeline_search AS s (space_id, pipeline_id, search)
    VALUES (NEW.space_id, NEW.id, search_text(
        NEW.name, NEW.external_id, NEW.description, search_text(VARIADIC NEW.owners), search_text(VARIADIC NEW.tags)))
    ON CONFLICT (space_id, pipeline_id) DO UPDATE SET search = excluded.search WHERE s.search <> excluded.search;
    RETURN NULL;
END
$$;
CREATE TRIGGER search_of_new AFTER INSERT ON pipelines FOR EACH ROW EXECUTE FUNCTION keep_search();
CREATE TRIGGER search_of_changed AFTER UPDATE ON pipelines FOR EACH ROW
WHEN ((OLD.name, OLD.external_id, OLD.description, OLD.owners, OLD.tags)
      IS DISTINCT FROM (NEW.name, NEW.external_id, NEW.description, NEW.owners, NEW.tags))
EXECUTE FUNCTION keep_search();
