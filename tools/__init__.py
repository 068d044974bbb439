"""Programs that generate parts of the product: the pocket base model, sample pairs and docs pages.

- `export_encoder`: converts sentence encoders for the search, such as the shipped one
- `export_template`: takes the large weights out of a converted encoder
- `fit_confidence`: fits how likely the best pair answers a question
- `fit_joint_encoder`: fits the matrix that joins an encoder with the shipped one
- `pocket`: builds the pocket base model, a small chat model that ships with this repository
- `python_docs`: generates thousands of pairs from the documentation in the Python installation
- `reference`: generates the reference pages in `docs/` from the code
- `tune_encoder`: tunes the shipped sentence encoder to questions in other words
"""
