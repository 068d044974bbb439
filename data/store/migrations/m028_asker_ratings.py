"""Asker ratings."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    """Running comparisons count the ratings of the people who asked, and of nobody else. What
    counted in comparisons that have ended stays, with the decisions that were based on it."""
    run(
        db,
        """
        DELETE FROM ratings WHERE variant_id IN (
            SELECT v.id FROM variants v JOIN experiments e ON e.id = v.experiment_id
            WHERE e.state = 'running');
        INSERT INTO ratings (variant_id, person, up, down)
            SELECT r.variant_id, r.person, sum(f.value = 1), sum(f.value = 0)
            FROM experiments e JOIN variants v ON v.experiment_id = e.id
            JOIN replies r ON r.variant_id = v.id
            JOIN feedback f ON f.reply_id = r.id AND f.person = r.person
                AND f.kind = 'thumb' AND f.live = 1 AND f.counts = 1
            WHERE e.state = 'running' GROUP BY 1, 2
        """,
    )
