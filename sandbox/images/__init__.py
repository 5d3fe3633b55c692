"""Look at images, fetch them and make them: hostile data, whoever made them."""
