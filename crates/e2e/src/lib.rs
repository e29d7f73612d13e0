//! A sealed world for behaviour tests: its own root, its own images, its own clean-up.
